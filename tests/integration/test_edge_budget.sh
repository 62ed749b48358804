#!/usr/bin/env bash
# A budget of bytes per day: uploads stop below it, wait in the spool, and a restart or a kill does
# not begin a new day.
source "$(dirname "$0")/edge.sh"
cloud_start
daily=32768
follow=(--source world:target --window 200 --budget 1 --uplink-bytes-per-day "$daily")

sent() { jq .sent_bytes "$work/edge/status.json"; }
edge edge "${follow[@]}" --count 400 || die "the agent"
first=$(sent)
[ "$first" -gt $((daily / 2)) ] && [ "$first" -le "$daily" ] || die "sent $first bytes of $daily"
waiting=$(status edge spool_files)
[ "$waiting" -gt 0 ] || die "nothing waits"
edge_start edge "${follow[@]}" --rate 100
sleep 1
edge_kill
edge edge "${follow[@]}" --count 401 || die "the agent after a kill"
second=$(sent)
[ "$second" -le "$daily" ] || die "sent $second bytes of $daily after a restart"

# Without a budget what waited goes.
edge edge --source world:target --window 200 --budget 1 --count 402 || die "the agent without a budget"
expect "waiting without a budget" "$(status edge spool_files)" 0
passed
