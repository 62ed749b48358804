#!/usr/bin/env bash
# HTTPS as the cloud speaks it: versions, large bodies both ways, another certificate while it runs;
# and life behind a proxy.
source "$(dirname "$0")/auth.sh"

cert_make a
cert_make b
cp "$work/a.pem" "$work/cert.pem"
cp "$work/a.key" "$work/cert.key"
cloud_start --tls-cert "$work/cert.pem" --tls-key "$work/cert.key"
[[ $url == https://* ]] || die "it listens on $url"
a=(--cacert "$work/a.pem")
b=(--cacert "$work/b.pem")

for version in 1.2 1.3; do
    expect "TLS $version" "$(get /healthz "${a[@]}" --tls-max "$version" "--tlsv$version")" 200
done
printf 'openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMinProtocol = TLSv1\nCipherString = ALL@SECLEVEL=0\n' \
    >"$work/old.cnf"
OPENSSL_CONF=$work/old.cnf get /healthz "${a[@]}" --tlsv1.0 --tls-max 1.1 >/dev/null 2>"$work/old.log" &&
    die "TLS 1.1 was accepted"
grep -qi "no protocols" "$work/old.log" && die "TLS 1.1 was not tried: $(cat "$work/old.log")"
get /healthz "${b[@]}" >/dev/null 2>&1 && die "curl took another certificate"
curl -sS -o /dev/null "http://127.0.0.1:$port/healthz" 2>/dev/null && die "HTTP on the TLS port"

payload 1 200 >"$work/large"
[ "$(stat -c %s "$work/large")" -gt 30000 ] || die "that is not large"
expect "an upload" "$(upload "$work/large" "${a[@]}")" 201
kept "$work/large" || die "the bytes that are stored differ"
expect "the contract" "$(get /openapi.yaml "${a[@]}")" 200
cmp -s "$work/answer" "$here/../../openapi/openapi.yaml" || die "the contract came down otherwise"
distilled=$(curl -sS "${a[@]}" -X POST -H 'Content-Type: application/json' \
    -d '{"holdout": 0, "steps": 4, "batch": 4}' "$url/distill" | jq .id)
[ "$distilled" = 1 ] || die "no round over TLS"
released() { [ "$(curl -sS "${a[@]}" "$url/deltas?wait=10" | jq '.deltas | length')" -eq 1 ]; }
until_true "a release" released
expect "a patch" "$(get /deltas/1 "${a[@]}")" 200
expect "its hash" "$(sha256sum "$work/answer" | cut -c1-64)" \
    "$(curl -sS "${a[@]}" "$url/deltas" | jq -r '.deltas[0].sha256')"
expect "a part of it" "$(get /deltas/1 "${a[@]}" -r 10-19)" 206
expect "its size" "$(stat -c %s "$work/answer")" 10

# --- another certificate, on a connection that stays and on new ones ---

told() { grep -q -- "$1" "$work/cloud.log"; }
cp "$work/b.pem" "$work/cert.pem"
kill -HUP "$cloud_pid" # the key does not belong to it
until_true "the wrong pair is said to be one" told "in use stays.*not the key"
expect "the old certificate after it" "$(get /healthz "${a[@]}")" 200
cp "$work/b.key" "$work/cert.key"
kill -HUP "$cloud_pid"
until_true "the certificate is read again" told "was read again"
expect "the new certificate" "$(get /healthz "${b[@]}")" 200
get /healthz "${a[@]}" >/dev/null 2>&1 && die "the old certificate is still there"
cloud_stop

# --- behind a proxy: tokens even on loopback, and limits for those whom the proxy names ---

operator=$(token add --role operator)
cloud_start --behind-proxy 127.0.0.1
as "$operator"
expect "no token" "$(get /model -H 'X-Forwarded-For: 192.0.2.1')" 401
expect "a token" "$(get /model -H 'X-Forwarded-For: 192.0.2.1' "${who[@]}")" 200
expect "many calls from one address" "$(calls 5000 -H 'X-Forwarded-For: 198.51.100.9, 192.0.2.1')" 429
expect "a call from another" "$(get /healthz -H 'X-Forwarded-For: 192.0.2.1, 192.0.2.2')" 200
cloud_stop
cloud_start --behind-proxy 192.0.2.77
for last in {1..20}; do # 100 calls, which each of them might make
    is=$(calls 100 -H "X-Forwarded-For: 192.0.2.$last")
    [ "$is" = 200 ] || break
done
expect "many calls from one address that claims to be others" "$is" 429
cloud_stop
passed
