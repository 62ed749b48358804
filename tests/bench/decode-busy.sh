#!/usr/bin/env bash
# decode-busy.sh: decoding on two threads alone, then beside two processes that never rest. JSON:
# tokens a second of both, and the share that is kept. Half is what a fair scheduler leaves of two
# cores; barriers that spin leave hundredths. Needs jq.
#     --shape NAME (llama-110m)    --rounds N (5)    --model FILE (build/cdcca-model)
# --peer "COMMAND" measures another program in the same way: it prints tokens a second, a number.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
shape=llama-110m rounds=5 model=build/cdcca-model peer=''
while [ $# -gt 0 ]; do
    case $1 in
    --shape) shape=$2 ;;
    --rounds) rounds=$2 ;;
    --model) model=$2 ;;
    --peer) peer=$2 ;;
    *) sed -n '2,7s/^# \?//p' "$0" >&2 && exit 2 ;;
    esac
    shift 2
done
busy=()
trap '[ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null || true' EXIT

ours() {
    "$model" bench decode --shape "$shape" --weights nf4 --threads 2 --repeat 12 --json |
        jq .tokens_per_second.median
}

# rates COMMAND: median of the rounds
rates() {
    local i
    for ((i = 0; i < rounds; i++)); do "$@"; done | jq -s 'sort | .[length / 2 | floor]'
}

busy_start() {
    local i
    for i in 1 2; do
        (while :; do :; done) &
        busy+=($!)
    done
}

theirs() { bash -c "$peer"; }

quiet=$(rates ours) quiet_peer=null busy_peer=null
[ -z "$peer" ] || quiet_peer=$(rates theirs)
busy_start
beside=$(rates ours)
[ -z "$peer" ] || busy_peer=$(rates theirs)
jq -n --arg shape "$shape" --argjson quiet "$quiet" --argjson busy "$beside" \
    --argjson quiet_peer "$quiet_peer" --argjson busy_peer "$busy_peer" \
    '{shape: $shape, threads: 2, quiet: $quiet, busy: $busy, kept: ($busy / $quiet)}
     + if $quiet_peer then {peer: {quiet: $quiet_peer, busy: $busy_peer, kept: ($busy_peer / $quiet_peer)}} else {} end'
