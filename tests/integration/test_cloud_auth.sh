#!/usr/bin/env bash
# Who may do what: each role against each route (tests/data/roles/table), tokens that come and go
# beside the running service, a device that acts for itself alone, and where the cloud will not listen.
source "$(dirname "$0")/auth.sh"

cloud_start --auth
grep -q "nobody has a token yet" "$work/cloud.log" || die "no word about the first token"
cloud_stop
operator=$(token add --role operator --name boss)
viewer=$(token add --role viewer)
device=$(token add --role device --name kiosk-7)
cloud_start --auth
grep -q "nobody has a token yet" "$work/cloud.log" && die "somebody has one"
DEVICE=kiosk-7 payload 1 4 >"$work/upload"
DEVICE=kiosk-8 payload 2 4 >"$work/other"

# --- every row of the table ---

# ask METHOD PATH TOKEN SECONDS: prints the status; answer and head are kept
ask() {
    local body=() path=${2//'{id}'/999}
    as "$3"
    case "$1 $2" in
    'POST /tokens') body=(-H 'Content-Type: application/x-safetensors' --data-binary "@$work/upload") ;;
    'GET /events') body=(--max-time "$4") ;; # it would go on
    'POST /distill') body=(-H 'Content-Type: application/json' -d '{"steps": 0}') ;;
    esac
    get "${path//'{version}'/999}" -X "$1" -D "$work/head" "${who[@]}" "${body[@]}" || [ $? -eq 28 ]
}

# check METHOD PATH NAME TOKEN EXPECTED
check() {
    local is seconds=60
    [ "$5" != ok ] || seconds=1
    is=$(ask "$1" "$2" "$4" "$seconds")
    case $5 in
    ok) [[ ! $is =~ ^(401|403|429|5..)$ ]] || [ "$1 $2" = 'POST /enroll' ] || die "$3 may not $1 $2: $is" ;;
    *)
        expect "$1 $2 as $3" "$is" "$5"
        expect "its problem's status" "$(answer .status)" "$5"
        [[ $(header WWW-Authenticate) == Bearer* ]] || die "$1 $2 as $3: no challenge"
        ;;
    esac
    [ "$5" != 403 ] || [[ $(answer .detail) == *"is for "*"$3"* ]] || die "$(answer .detail)"
}

while read -r method path nobody as_viewer as_device as_operator; do
    check "$method" "$path" nobody '' "$nobody"
    check "$method" "$path" viewer "$viewer" "$as_viewer"
    check "$method" "$path" device "$device" "$as_device"
    check "$method" "$path" operator "$operator" "$as_operator"
done < <(tail -n +2 "$here/../data/roles/table")

awk '/^  \// {path = $1; sub(":", "", path)} /^    (get|post|put|delete):$/ {
    method = toupper($1); sub(":", "", method); print method, path}
    /^components:/ {exit}' "$here/../../openapi/openapi.yaml" | sort >"$work/contract"
tail -n +2 "$here/../data/roles/table" | awk '{print $1, $2}' | sort >"$work/table"
diff "$work/contract" "$work/table" || die "the table and the contract name other routes"

expect "whose token" "$(ask GET /me "$viewer")" 200
expect "its role" "$(answer .role)" viewer
expect "its name" "$(ask GET /me "$operator" >/dev/null; answer .name)" boss

# --- a device acts for itself ---

stored() { curl -sS -H "Authorization: Bearer $operator" "$url/tokens" | jq '.uploads | length'; }
before=$(stored)
as "$device"
expect "an upload of another device" "$(upload "$work/other" "${who[@]}")" 403
[[ $(answer .detail) == *kiosk-7*kiosk-8* ]] || die "$(answer .detail)"
expect "uploads after it" "$(stored)" "$before"
as "$operator"
expect "the same by an operator" "$(upload "$work/other" "${who[@]}")" 201

# --- tokens come and go beside the service ---

late=$(token add --role viewer --name late)
as "$late"
expect "a token that was added just now" "$(get /model "${who[@]}")" 200
new=$(token rotate late --overlap 1h)
expect "the old one, within its overlap" "$(get /model "${who[@]}")" 200
as "$new"
expect "the new one" "$(get /model "${who[@]}")" 200
newest=$(token rotate late --overlap 1s)
sleep 1.2
expect "the one before, after its overlap" "$(get /model "${who[@]}")" 401
as "$newest"
expect "the newest" "$(get /model "${who[@]}")" 200
token revoke late
expect "a revoked token" "$(get /model -D "$work/head" "${who[@]}")" 401
[[ $(header WWW-Authenticate) == *invalid_token* ]] || die "no reason: $(header WWW-Authenticate)"
expect "the list" "$(token list --json | jq -rc 'map(.name + " " + .role)')" \
    '["boss operator","kiosk-7 device","viewer-1 viewer"]'
expect "the same name again" "$(token add --role viewer --name boss >/dev/null || echo "$?")" 65
grep -q "rotate boss" "$work/token.log" || die "$(cat "$work/token.log")"
expect "a role that is none" "$(token add --role root >/dev/null || echo "$?")" 2
expect "nobody's name" "$(token revoke nobody || echo "$?")" 66
expect "a verb that is none" "$(token melt >/dev/null || echo "$?")" 2

# --- odd Authorization fields: each is a 401, none an error of ours ---

for dir in "$here"/../data/authorization/*/; do
    value=$(cat "$dir/value")
    expect "Authorization of ${dir%/}" "$(get /model -H "Authorization: ${value:-;}")" 401
done
as "$operator"
expect "Authorization twice" "$(get /model "${who[@]}" "${who[@]}")" 400

# --- a stranger's large body is not read ---

head -c 8000000 /dev/zero >"$work/big"
is=$(curl -sS -o /dev/null -w '%{http_code} %{size_upload}' -H 'Expect: 100-continue' \
    --expect100-timeout 60 -H 'Content-Type: application/x-safetensors' --data-binary "@$work/big" "$url/tokens")
expect "8 MB without a token, and bytes of them sent" "$is" "401 0"

# --- an address without tokens is heard for a while; who has one is not held up by it ---

expect "many calls" "$(calls 5000)" 429
[ "$(header Retry-After)" -ge 1 ] || die "Retry-After: $(header Retry-After)"
as "$operator"
expect "a call with a token, from the same address" "$(get /model "${who[@]}")" 200
cloud_stop

# --- where it listens ---

cert_make a
cert_make b
tls=(--tls-cert "$work/a.pem" --tls-key "$work/a.key")
refuses "every address, in the clear" 77 "--tls-cert" --listen 0.0.0.0:0
refuses "every address, IPv6" 77 "--tls-cert" --listen '[::]:0'
refuses "no address at all" 77 "--tls-cert" --listen :0
refuses "with tokens alone" 77 "--tls-cert" --listen 0.0.0.0:0 --auth
refuses "a certificate without its key" 2 "go together" --tls-cert "$work/a.pem"
refuses "another one's key" 65 "not the key" --tls-cert "$work/a.pem" --tls-key "$work/b.key"
refuses "no certificate" 66 "nowhere" --tls-cert "$work/nowhere.pem" --tls-key "$work/a.key"
refuses "a certificate that is none" 65 "a.key" --tls-cert "$work/a.key" --tls-key "$work/a.key"
refuses "a proxy by name" 2 "address" --behind-proxy localhost

cloud_start "${tls[@]}" --listen 0.0.0.0:0
url=https://127.0.0.1:$port
as "$operator"
expect "every address with TLS, no token" "$(get /model --cacert "$work/a.pem")" 401
expect "with one" "$(get /model --cacert "$work/a.pem" "${who[@]}")" 200
cloud_stop
cloud_start --listen 0.0.0.0:0 --insecure
url=http://127.0.0.1:$port
expect "--insecure, no token" "$(get /model)" 200
grep -q "warn cloud: --insecure" "$work/cloud.log" || die "--insecure without a warning"
cloud_stop
cloud_start --listen 0.0.0.0:0 --insecure --auth
url=http://127.0.0.1:$port
expect "--insecure --auth, no token" "$(get /model)" 401
cloud_stop
passed
