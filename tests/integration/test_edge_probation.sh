#!/usr/bin/env bash
# A version that is in use but gives no finite answers: the agent leaves it by itself, also when it
# is killed in the middle of that, answers every sample with the version before, and tells the cloud.
source "$(dirname "$0")/edge.sh"
url=http://127.0.0.1:9 # nobody listens there; the report waits

bad_counted() { jq -e '.bad >= 1' "$work/edge/probation.json" >/dev/null 2>&1; }
active() { jq -r "$1" "$work/edge/state.json"; }
"$bin/make_bad_slot" "$work/student" "$work/edge" || die "no bad slot"
expect "the version in use" "$(active .active)" 1

# Killed after some bad answers: nothing is forgotten.
edge_start edge --source world:source --window 50 --rate 20 --json
until_true "the first bad answers" bad_counted
edge_kill
expect "the version in use after a kill" "$(active .active)" 1
jq -e '.version == 1 and .bad >= 1' "$work/edge/probation.json" >"$work/answer" ||
    die "probation: $(cat "$work/edge/probation.json")"
bad=$(jq .bad "$work/edge/probation.json")

# It comes to its decision, and goes on with the factory model.
edge_start edge --source world:source --window 50 --count 60 --json
until_true "it leaves the version" logged "version 1 gives too many empty or unusable answers"
until_true "a closed window" status_is edge seen 60
kill -TERM "$edge_pid"
edge_end "after a probation that failed"
expect "the version in use" "$(active .active)" 0
expect "the version left, blocked" "$(active '.failed | map([.version, .failures]) | tostring')" '[[1,3]]'
expect "versions that answered" "$(jq -s 'map(.version) | unique | tostring' "$work/lines")" '"[0]"'
skipped=$((60 - $(wc -l <"$work/lines")))
[ "$skipped" -le 11 ] || die "$skipped samples without an answer"
[ $((bad + skipped)) -le 13 ] || die "$bad and then $skipped bad answers before it was left"
report=$(find "$work/edge/reports" -name '*.upload')
expect "reports" "$(wc -w <<<"$report")" 1
expect "the report" "$(jq -r '[.version, .outcome] | tostring' "$report")" '[1,"rolled_back"]'
passed
