#!/usr/bin/env bash
# kill -9 the agent at random points under load, against a real cloud that releases versions all the
# while. After each kill the slot in use is a version that was released, or the factory's. At the
# end, after a run in peace: every instance that was sampled is at the cloud exactly once.
#   kill_edge.sh BUILD_DIR [--count N] [--seed S]     (20 kills; a release wants 1,000)
count=20
seed=$RANDOM
bin_dir=$1
shift
while [ $# -gt 1 ]; do
    case $1 in
    --count) count=$2 ;;
    --seed) seed=$2 ;;
    *) break ;;
    esac
    shift 2
done
[ $# -eq 0 ] || { echo "kill_edge.sh BUILD_DIR [--count N] [--seed S]" >&2; exit 2; }
set -- "$bin_dir"
source "$(dirname "$0")/../integration/edge.sh"
RANDOM=$seed
echo "seed $seed, $count kills"
cloud_start
factory=$(curl -sS "$url/model" | jq -r .factory_sha256)
load=(--source world:target --device cam --window 40 --budget 0.3 --rate 400 --seed "$seed")
settings='{"holdout":0,"steps":4,"batch":4,"codec":"2"}'

# One more round when there is something new to learn from; a refusal is as good.
round() { curl -sS -o /dev/null -X POST -H 'Content-Type: application/json' -d "$settings" "$url/distill"; }

released() { # every set that was ever released, and the factory's
    echo "$factory"
    curl -sS "$url/deltas?after=0" | jq -r '.deltas[].set_sha256'
}

whole_slot() { # WHEN: what state.json names is whole and was released
    local state=$work/edge/state.json hash version
    [ -f "$state" ] || return 0
    hash=$(jq -er .sha256 "$state") || die "$1: state.json is damaged: $(head -c 200 "$state")"
    version=$(jq -er .active "$state")
    released >"$work/released"
    grep -qx "$hash" "$work/released" || die "$1: version $version in use was never released: $hash"
    [ -f "$work/edge/slots/v$version.safetensors" ] || die "$1: no slot of version $version"
}

starts() { local n; n=$(grep -c "cam answers" "$work/edge.log" 2>/dev/null) || true; echo "${n:-0}"; }
started_after() { [ "$(starts)" -gt "$1" ]; }

for kill in $(seq "$count"); do
    before=$(starts)
    edge_start edge "${load[@]}"
    [ $((kill % 3)) -eq 0 ] || until_true "life $kill answers" started_after "$before"
    sleep "$((RANDOM % 2)).$((RANDOM % 10))$((RANDOM % 10))"
    kill -0 "$edge_pid" 2>/dev/null || die "life $kill ended by itself"
    edge_kill
    whole_slot "kill $kill"
    round
    if [ $((kill % 60)) -eq 0 ]; then # or the device's quota is used up one day
        cloud_stop
        cloud_start
    fi
done

# --- in peace: everything waits its turn and arrives ---

version_reached() { # the newest that the cloud has
    get /model >/dev/null
    [ "$(status edge version)" = "$(answer .version)" ]
}
edge_start edge "${load[@]}"
until_true "the newest version is in use" version_reached
kill -TERM "$edge_pid"
edge_end "the run in peace"
seen=$(status edge seen)
edge edge "${load[@]}" --count "$((seen + 20))" || die "the last run"
whole_slot "the end"
highest=$(status edge version)

sampled=$(status edge sampled)
expect "waiting" "$(status edge spool_files)" 0
expect "dropped" "$(status edge dropped)" 0
expect "rejected" "$(status edge rejected)" 0
after=0
: >"$work/uploads"
while :; do
    curl -sS "$url/tokens?after=$after&limit=100" >"$work/page"
    jq -c '(.uploads // .tokens)[]' "$work/page" >>"$work/uploads"
    next=$(jq -r '.next // empty' "$work/page")
    [ -n "$next" ] || break
    after=$next
done
stored=$(jq -s 'map(.instances) | add' "$work/uploads")
expect "instances at the cloud" "$stored" "$sampled"
ids=$("$bin/stored_uploads" "$work/data" bytes | grep -aoh '"id\\":\\"[A-Za-z0-9._-]*')
expect "instances with an id of their own" "$(sort -u <<<"$ids" | grep -c .)" "$stored"
echo "$count kills: $sampled sampled, $stored stored once each, version $highest in use"
passed
