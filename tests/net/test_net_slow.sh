#!/usr/bin/env bash
# test_net_slow.sh BUILD [COUNT]: slow clients are all dropped, while a good one is answered and
# memory stays; 200 tricklers, more by the argument.
source "$(dirname "$0")/../integration/cloud.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=8" # else memory freed counts, too
cloud_start
get /healthz >/dev/null
"$bin/net_slow" "$port" "$cloud_pid" "${2:-200}" || die "see above"
expect "GET /healthz" "$(get /healthz)" 200
expect "uploads" "$(curl -sS "$url/tokens" | jq '.uploads | length')" 0
cloud_stop
