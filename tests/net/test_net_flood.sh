#!/usr/bin/env bash
# test_net_flood.sh BUILD [SECONDS [CONNECTIONS]]: more uploads than the service can take, for ten
# seconds: it refuses what is too much, loses nothing and is itself afterwards.
source "$(dirname "$0")/../integration/cloud.sh"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=8" # else memory freed counts, too
cloud_start
DEVICE=q10000-many payload 10000 8 >"$work/payload" # each of another device: quotas are not asked here
"$bin/net_flood" "$port" "$cloud_pid" "$work/payload" "${3:-800}" "${2:-10}" || die "see above"
cloud_stop
