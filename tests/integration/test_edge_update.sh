#!/usr/bin/env bash
# A release that is all in order but makes the model answer rubbish: refused by the device's
# self-test, three times, then left alone for good; a sound release after it is taken.
source "$(dirname "$0")/edge.sh"
rm -r "$work/student"
mv "$work/sure" "$work/student" # sure of its answers, so that there is something to agree with
cloud_start
follow=(--source world:target --window 50 --budget 0.2 --rate 100 --device cam --class door --json)

failures() { jq -r '.failed[0].failures // 0' "$work/edge/state.json" 2>/dev/null || echo 0; }
failures_are() { [ "$(failures)" = "$1" ]; }
refusals() { grep -c "version 1 refused, version 0 stays: self-test" "$work/edge.log" || true; }

# --- the cloud learns nonsense: without a gate, at a learning rate that no one would use ---

edge_start edge "${follow[@]}"
until_true "uploads" status_is edge uploads 2
id=$(distill '{"holdout":0,"steps":60,"batch":8,"lr":1,"clip":1000,"codec":"n"}')
expect "the bad round" "$(round_wait "$id")" released
until_true "a refusal" failures_are 1
halted() { [ "$(curl -sS "$url/releases/1" | jq -r .state)" = halted ]; }
for n in 2 3; do # the fleet was told, and offers it no more unless someone insists
    until_true "the release is halted" halted
    curl -sS -o /dev/null -X POST "$url/releases/1/resume"
    until_true "refusal $n" failures_are "$n"
done
until_true "it is left alone" logged "failed three times, left alone"
expect "the version in use" "$(status edge version)" 0
expect "refusals" "$(refusals)" 3
before=$(wc -l <"$work/lines")
more_answers() { [ "$(wc -l <"$work/lines")" -gt "$before" ]; }
until_true "it goes on answering" more_answers
expect "every answer says its version" "$(jq -s 'map(.version) | unique | tostring' "$work/lines")" '"[0]"'

# --- over a restart it stays left alone ---

kill -TERM "$edge_pid"
edge_end "after a bad release"
edge_start edge "${follow[@]}"
sleep 4 # two polls
kill -TERM "$edge_pid"
edge_end "after a restart"
expect "refusals after a restart" "$(refusals)" 3
expect "failures after a restart" "$(failures)" 3
passed
