#!/usr/bin/env bash
# Odd framing against the running service: each case of framing/ one clear status, then close; and
# bad requests of three routes, a folder each in tests/data/http (cases.c says how they are written).
# Afterwards nothing is stored and the service answers as before. Then a client that is gone before
# its answer: what it sent is stored once.
source "$(dirname "$0")/../integration/cloud.sh"
cloud_start
get /model >/dev/null
"$bin/net_cases" "$port" "ENCODER=$(answer .encoder)" "$here"/../net/framing/*/ \
    "$here"/../data/http/*/*/ || die "see above"
expect "GET /tokens" "$(get /tokens)" 200
expect "uploads" "$(answer '.uploads | length')" 0
expect "GET /distill" "$(get /distill)" 200
expect "rounds" "$(answer '.rounds | length')" 0

payload 1 4 >"$work/a"
for _ in $(seq 20); do
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST /tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-safetensors\r\n' >&3
    printf 'Content-Length: %d\r\n\r\n' "$(stat -c %s "$work/a")" >&3
    cat "$work/a" >&3
    exec 3>&-
done
again=$(upload "$work/a")
[ "$again" = 200 ] || [ "$again" = 201 ] || die "the same upload again: $again"
expect "GET /tokens" "$(get /tokens)" 200
expect "uploads" "$(answer '.uploads | length')" 1
cloud_stop
