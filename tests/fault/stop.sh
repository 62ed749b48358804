#!/usr/bin/env bash
# stop.sh BIN [TIMES]: SIGTERM to the cloud, TIMES times (10), each at another moment of a flood of
# uploads on new connections and kept ones, with a long poll and an event stream open. Every time: it
# exits with 0 within 10 s; whoever was connected got an answer, never a reset without one; every
# upload answered with 201 or 200 is in the store at the next start.
source "$(dirname "$0")/../integration/cloud.sh"
times=${2:-10}

for seed in $(seq 1 40); do
    payload "$seed" 1 >"$work/up-$seed"
done

# flood NAME FIRST: one upload after another, each on a connection of its own, until one cannot
# connect; the outcomes go to $work/NAME: "SEED STATUS CURL-CODE"
flood() {
    local seed=$2 status code
    while :; do
        code=0
        status=$(curl -sS --max-time 20 -o /dev/null -w '%{http_code}' \
            -H 'Content-Type: application/x-safetensors' --data-binary "@$work/up-$seed" \
            "$url/tokens" 2>/dev/null) || code=$?
        echo "$seed $status $code" >>"$work/$1"
        [ "$code" = 0 ] || return 0
        seed=$((seed % 40 + 1))
    done
}

for turn in $(seq "$times"); do
    cloud_start
    rm -f "$work"/flood-* "$work/events"
    floods=()
    for client in 1 2 3 4; do
        flood "flood-$client" $((client * 10 - 9)) &
        floods+=($!)
    done
    curl -sS --max-time 20 -o "$work/poll" -w '%{http_code}' "$url/deltas?wait=60&after=1000" >"$work/poll-status" &
    poll=$!
    curl -sSN --max-time 20 "$url/events" >"$work/events" &
    stream=$!
    for _ in $(seq 200); do # a slow machine's curl comes late
        ! grep -q '^retry: ' "$work/events" 2>/dev/null || break
        sleep 0.1
    done
    sleep "$(awk -v t="$turn" 'BEGIN {print 0.3 + (t * 37 % 50) / 100}')"
    before=$(date +%s)
    cloud_stop
    [ $(($(date +%s) - before)) -le 10 ] || die "turn $turn: the stop took more than 10 s"
    for pid in "${floods[@]}"; do
        wait "$pid" || die "a flood failed"
    done
    code=0
    wait "$poll" || code=$?
    [ "$code" = 7 ] || expect "the long poll, and curl's code" "$(cat "$work/poll-status") $code" "200 0"
    wait "$stream" || die "turn $turn: the event stream had no end"
    grep -q '^event: end' "$work/events" || die "turn $turn: the stream was not told of the stop"
    # curl's codes: 7 could not connect; anything else is a request that was dropped
    awk -v turn="$turn" '$3 != 0 && $3 != 7 {print "turn " turn ": upload " $1 " ended with curl " $3; bad = 1}
        $3 == 0 && $2 !~ /^(200|201|503)$/ {print "turn " turn ": upload " $1 " got " $2; bad = 1}
        END {exit bad}' "$work"/flood-* || die "turn $turn: requests were dropped"
    awk '$2 == 200 || $2 == 201 {print $1}' "$work"/flood-* >>"$work/acknowledged"
done

cloud_start
curl -sS "$url/tokens" | jq -r '.uploads[].sha256' >"$work/stored"
sort -un "$work/acknowledged" | while read -r seed; do
    grep -q "$(sha256sum "$work/up-$seed" | cut -c1-64)" "$work/stored" || die "upload $seed is lost"
done
echo "$times stops, $(wc -l <"$work/acknowledged") uploads acknowledged"
cloud_stop
