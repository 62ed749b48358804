#!/usr/bin/env bash
# cdcca-edge simulate: twenty devices over slow and lossy links, one round, and all end on the same
# version, which is the cloud's. And what it refuses.
source "$(dirname "$0")/edge.sh"

# simulate OPTION...: lines into $work/edge.log, the summary into $work/summary
simulate() {
    "$bin/cdcca-edge" simulate --cloud "$url" --model "$work/student" --threads 1 --json "$@" \
        >"$work/summary" 2>>"$work/edge.log"
}
# summary: what the fleet said at its end is the answer now
summary() { cp "$work/summary" "$work/answer"; }
uploads_are() { [ "$(curl -sS "$url/tokens?limit=100" | jq '[.uploads[].device] | unique | length')" -ge "$1" ]; }

cloud_start
simulate --devices 20 --rate 5 --window 5 --budget 0.4 --drift night,fog --segment 30 --poll 1 \
    --link 256kbit,2%loss,5ms --classes camera,robot --rounds 1 --duration 120 &
edge_pid=$!
until_true "uploads of twenty devices" uploads_are 20
round=$(distill '{"steps": 4}')
expect "the round" "$(round_wait "$round")" released
edge_end "the fleet"
summary
expect "twenty devices" "$(answer .devices)" 20
expect "all at one version" "$(answer '.versions | tostring')" '[{"version":1,"devices":20}]'
expect "updates" "$(answer .updates)" 20
expect "each fetched the patch" "$(answer ".downlink_bytes >= 20 * $(curl -sS "$url/deltas?after=0" |
    jq '[.releases[]?, .deltas[]?][0].size')")" true
expect "its figures" "$(answer '[(.answered > 100), (.uploaded > 20), (.sampled >= .uploaded),
    (.uplink_bytes > 0), (.attempts > .lost), (.errors == 0), (.update_seconds_max > 0)] | tostring')" \
    '[true,true,true,true,true,true,true]'

# --- a link that loses half of what is tried ---

simulate --devices 4 --rate 5 --window 5 --poll 1 --link 20%loss --rounds 1 --duration 120 ||
    die "a lossy link"
summary
expect "lost attempts" "$(answer '.lost > 0 and .lost < .attempts')" true
cloud_stop

# --- a cloud that is away, an end that is not reached ---

simulate --devices 3 --rate 20 --window 5 --poll 1 --rounds 1 --duration 2 && die "nobody there, and it is fine"
summary
expect "what went wrong" "$(answer '.last_error | test("^sim-000[1-3]: .*127.0.0.1")')" true
expect "errors" "$(answer '.errors > 0 and .uploaded == 0 and .versions[0].devices == 3')" true

fails() { # WHAT PATTERN OPTION...
    local what=$1 pattern=$2
    shift 2
    "$bin/cdcca-edge" simulate --model "$work/student" "$@" >/dev/null 2>"$work/problem" &&
        die "$what: accepted"
    grep -q -- "$pattern" "$work/problem" || die "$what: said $(cat "$work/problem")"
}
fails "no cloud" "--cloud"
fails "an unknown domain" "nowhere" --cloud "$url" --drift night,nowhere
fails "a link of nonsense" "256kbit,2%loss" --cloud "$url" --link fast
fails "a loss of everything" "--link" --cloud "$url" --link 100%loss
fails "classes that are none" "--classes" --cloud "$url" --classes "a,,b"
passed
