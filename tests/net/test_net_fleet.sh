#!/usr/bin/env bash
# test_net_fleet.sh BUILD [AGENTS [SECONDS AWAY]]: a fleet whose cloud is killed and comes back, on
# the same port, after a while: it comes back in no wave, and every upload is there once.
source "$(dirname "$0")/../integration/cloud.sh"
cloud_start --connections 4096
DEVICE=q10000-many payload 10000 1 >"$work/payload"
"$bin/net_fleet" "$port" "$work/payload" "${2:-100}" 8 >"$work/fleet" &
fleet=$!
until grep -q steady "$work/fleet"; do
    kill -0 "$fleet" 2>/dev/null || die "the fleet ended: $(cat "$work/fleet")"
    sleep 0.1
done
cloud_kill
sleep "${3:-5}"
again=$port
cloud_start --connections 4096 --listen "127.0.0.1:$again"
expect "the port" "$port" "$again"
wait "$fleet" || die "$(cat "$work/fleet")"
cat "$work/fleet"
cloud_stop
