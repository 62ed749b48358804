#!/usr/bin/env bash
# transfer.sh [--bin DIR] [--window N] [--rounds N]: how long an upload and a delta take over a slow
# link. The cloud lives in one network namespace, the device in another, between them a veth pair
# that `tc` shapes at both ends (tbf: a token bucket) to 1 Gbit/s, 10 Mbit/s and 256 kbit/s. A real
# edge fills its spool, that upload teaches a real round, and both the upload and the delta that came
# out are sent --rounds times (3) at each rate; the median stands beside what table 5 computes from
# bytes. JSON on stdout. "unshaped" is the time without any shaping: what the programs themselves
# take. Needs root, ip, tc (iproute2), curl and jq; exit status 77, with a word, without them.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
bin=build window=910 rounds=3
while [ $# -gt 0 ]; do
    case $1 in
    --bin) bin=$2 ;;
    --window) window=$2 ;;
    --rounds) rounds=$2 ;;
    *) sed -n '2,8s/^# \?//p' "$0" >&2 && exit 2 ;;
    esac
    shift 2
done
readonly cloud=cdcca-cloud-$$ device=cdcca-edge-$$ address=10.87.5.1 url=http://10.87.5.1:8080
work=$(mktemp -d /tmp/cdcca-transfer-XXXXXX)
running=''

say() { echo "transfer.sh: $*" >&2; }
skip() { say "$*" && exit 77; }
die() { say "$*" && exit 1; }

cleanup() {
    [ -z "$running" ] || kill "$running" 2>/dev/null || true
    ip netns del "$cloud" 2>/dev/null || true
    ip netns del "$device" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

# ---- the link ----

link_make() {
    local name
    for name in ip tc curl jq; do
        command -v "$name" >/dev/null || skip "$name is not installed"
    done
    [ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
    for name in "$cloud" "$device"; do
        ip netns add "$name" 2>"$work/why" ||
            skip "no network namespaces here: $(cat "$work/why")"
    done
    ip link add cloud0 netns "$cloud" type veth peer name edge0 netns "$device" 2>"$work/why" ||
        skip "no veth pair here: $(cat "$work/why")"
    ip -n "$cloud" address add "$address/24" dev cloud0
    ip -n "$device" address add 10.87.5.2/24 dev edge0
    ip -n "$cloud" link set lo up
    ip -n "$cloud" link set cloud0 up
    ip -n "$device" link set edge0 up
}

# shape RATE BURST: both directions; the bucket holds a packet at slow rates, so that small files do
# not pass through it whole
shape() {
    local where
    for where in "$cloud cloud0" "$device edge0"; do
        tc -n "${where% *}" qdisc replace dev "${where#* }" root tbf rate "$1" burst "$2" \
            latency 2s 2>"$work/why" || skip "tc cannot shape here (tbf): $(cat "$work/why")"
    done
}

# ---- what travels ----

# upload_make: an edge whose cloud does not answer leaves its first window's upload in its spool
upload_make() {
    local found=''
    ip netns exec "$device" "$bin/cdcca-edge" run --cloud http://127.0.0.1:9 --model models/student \
        --data "$work/edge" --source world:drift --window "$window" --count "$window" \
        2>"$work/edge.log" >/dev/null &
    running=$!
    for _ in $(seq 3000); do
        found=$(find "$work/edge/spool" -name '*.upload' 2>/dev/null || true)
        [ -z "$found" ] || break
        kill -0 "$running" 2>/dev/null || die "the edge stopped: $(tail -n 3 "$work/edge.log")"
        sleep 0.1
    done
    [ -n "$found" ] || die "no upload within five minutes"
    cp "$found" "$work/upload"
    kill "$running"
    wait "$running" || true
    running=''
}

cloud_start() {
    ip netns exec "$cloud" "$bin/cdcca-cloud" serve --listen "$address:8080" --insecure \
        --data "$work/data" --teacher models/teacher --student models/student 2>"$work/cloud.log" &
    running=$!
    for _ in $(seq 300); do
        ! remote "$url/healthz" -o /dev/null 2>/dev/null || return 0
        kill -0 "$running" 2>/dev/null || break
        sleep 0.1
    done
    die "the cloud did not start: $(tail -n 3 "$work/cloud.log")"
}

remote() { ip netns exec "$device" curl -fsS "$@"; }
upload_send() {
    remote -o /dev/null -w '%{time_total}\n' --data-binary "@$work/upload" \
        -H 'Content-Type: application/x-safetensors' -H 'Content-Encoding: zstd' "$url/tokens"
}
delta_get() { remote -o "$work/delta" -w '%{time_total}\n' "$url/deltas/1"; }

delta_make() {
    upload_send >/dev/null
    remote -o /dev/null -H 'Content-Type: application/json' -d '{"holdout": 0}' "$url/distill"
    remote "$url/deltas?after=0&wait=60" -o /dev/null
    for _ in $(seq 20); do
        [ "$(remote "$url/deltas?after=0&wait=30" | jq '.deltas | length')" -eq 0 ] || return 0
    done
    die "no delta within ten minutes"
}

# ---- measuring ----

median() { jq -s 'sort | .[length / 2 | floor]'; }
repeat() { for _ in $(seq "$rounds"); do "$1"; done | median; }

# row WHAT BYTES RATE MEASURED: computed as model/tool/table_bytes.h says
row() {
    jq -n --arg what "$1" --argjson bytes "$2" --argjson rate "$3" --argjson measured "$4" \
        '{what: $what, bytes: $bytes, bits_per_second: $rate, measured_seconds: $measured}
         + if $rate then {computed_seconds: (($bytes + 400) / 1448 * 1514 * 8 / $rate)} else {} end'
}

rows() { # RATE as a number, or null
    row upload "$(stat -c %s "$work/upload")" "$1" "$(repeat upload_send)"
    row delta "$(stat -c %s "$work/delta")" "$1" "$(repeat delta_get)"
}

link_make
say "an edge answers $window samples"
upload_make
cloud_start
say "a round in the cloud"
delta_make
delta_get >/dev/null
{
    rows null
    while read -r rate burst; do
        shape "$rate" "$burst"
        say "$rate bit/s"
        rows "$rate"
    done <<'RATES'
1000000000 65536
10000000 1600
256000 1600
RATES
} | jq -s '{shaping: "tbf at both ends of a veth pair", unshaped: map(select(.bits_per_second == null)
    | del(.bits_per_second)), rows: map(select(.bits_per_second))}'
