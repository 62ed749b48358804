#!/usr/bin/env bash
# What holds over kill -9, SIGTERM and a second start: acknowledged uploads, a round under way, the
# devices' parameters, the port and the directory.
source "$(dirname "$0")/cloud.sh"
cloud_start
quick='{"holdout":0,"steps":20,"batch":8}'
long='{"holdout":0,"steps":600,"batch":8}'

# kill -9 while uploads come in: what was acknowledged is there, once
for seed in $(seq 1 40); do
    payload "$seed" 1 >"$work/up-$seed"
done
(
    for seed in $(seq 1 40); do
        case $(upload "$work/up-$seed" 2>/dev/null) in
        20?) echo "$seed" >>"$work/acknowledged" ;;
        *) exit 0 ;;
        esac
    done
) &
sleep 0.3
cloud_kill
wait %2 2>/dev/null || wait
cloud_start
touch "$work/acknowledged"
curl -sS "$url/tokens" | jq -r '.uploads[].sha256' >"$work/stored"
expect "stored twice" "$(sort "$work/stored" | uniq -d | wc -l)" 0
while read -r seed; do
    grep -q "$(sha256sum "$work/up-$seed" | cut -c1-64)" "$work/stored" || die "upload $seed is lost"
done <"$work/acknowledged"
for seed in $(seq 1 40); do
    upload "$work/up-$seed" >/dev/null
done
expect "all of them" "$(curl -sS "$url/tokens" | jq '.uploads | length')" 40

# kill -9 in a round: it is run again from its uploads
id=$(distill "$long")
sleep 1
cloud_kill
cloud_start
expect "the round after kill -9" "$(round_wait "$id")" released
expect "one release" "$(curl -sS "$url/deltas" | jq '.deltas | length')" 1
expect "instances" "$(curl -sS "$url/distill/$id" | jq .report.instances)" 40

# SIGTERM in a round: out in time, and it goes on at the next start
payload 100 24 >"$work/a"
upload "$work/a" >/dev/null
id=$(distill '{"holdout":0,"steps":10000,"batch":8}')
sleep 1
before=$(date +%s)
cloud_stop
[ $(($(date +%s) - before)) -le 10 ] || die "SIGTERM took more than 10 s"
cloud_start
expect "the round is queued again" "$(curl -sS "$url/distill/$id" | jq -r '.state == "running" or .state == "queued"')" true
expect "cancel" "$(get "/distill/$id" -X DELETE)" 202
expect "the cancelled round" "$(round_wait "$id")" cancelled

# the edge's parameters lost: put together again from the deltas, to the bit
cloud_stop
hash=$(jq -rn --rawfile f "$work/cloud.log" '$f' >/dev/null; sqlite3 "$work/data/cloud.db" \
    'select set_sha256 from releases order by version desc limit 1' 2>/dev/null || true)
rm -f "$work"/data/state/edge-*.safetensors
cloud_start
grep -q 'applying every delta again' "$work/cloud.log" || die "the loss went unnoticed"
id=$(distill "$quick")
expect "the next round" "$(round_wait "$id")" released
expect "the chain of versions" \
    "$(curl -sS "$url/deltas" | jq '.deltas[1].base_set_sha256 == .deltas[0].set_sha256')" true
[ -z "$hash" ] || expect "its base" "$(curl -sS "$url/deltas" | jq -r '.deltas[1].base_set_sha256')" "$hash"

# the distiller's state lost or damaged: it starts from the devices' parameters
cloud_stop
for file in "$work"/data/state/distiller-*.safetensors; do
    head -c 100 "$file" >"$file.cut"
    mv "$file.cut" "$file"
done
cloud_start
grep -q "starting from the devices' parameters" "$work/cloud.log" || die "the damage went unnoticed"

# a second server
second() { # OPTION...: its exit status; its words in $work/second
    local code=0
    timeout 20 "$bin/cdcca-cloud" serve --teacher "$work/teacher" --student "$work/student" "$@" \
        2>"$work/second" || code=$?
    echo "$code"
}
expect "a second one on the port" "$(second --listen "127.0.0.1:$port" --data "$work/other")" 75
grep -q "in use" "$work/second" || die "no word of the port: $(cat "$work/second")"
expect "lines about it" "$(wc -l <"$work/second")" 1
expect "a second one on the data" "$(second --listen 127.0.0.1:0 --data "$work/data")" 75
grep -q "another cdcca-cloud" "$work/second" || die "no word of it: $(cat "$work/second")"
expect "no such address" "$(second --listen nowhere --data "$work/other")" 2
expect "another encoder" "$(second --listen 127.0.0.1:0 --data "$work/other" --student "$work/stranger")" 65
grep -q "vision encoders" "$work/second" || die "no word of the encoders: $(cat "$work/second")"
expect "no such model" "$(second --listen 127.0.0.1:0 --data "$work/other" --student "$work/none")" 66
expect "an unknown option" "$(second --lisen 127.0.0.1:0)" 2
cloud_stop
