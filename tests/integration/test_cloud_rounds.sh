#!/usr/bin/env bash
# From uploads to a delta: rounds by request, what is refused, cancelling, the patch with ETag and
# ranges, long polling, and rounds that start by count.
source "$(dirname "$0")/cloud.sh"
cloud_start
quick='{"holdout":0,"steps":20,"batch":8}'
long='{"holdout":0,"steps":10000,"batch":8}'
factory=$(curl -sS "$url/model" | jq -r .sha256)

expect "a round without uploads" "$(get /distill -X POST)" 409
expect "GET /deltas" "$(get /deltas)" 200
expect "no deltas" "$(answer '.deltas | length')" 0
expect "GET /deltas/1" "$(get /deltas/1)" 404
payload 1 24 >"$work/a"
expect "upload" "$(upload "$work/a")" 201

while IFS='|' read -r settings status; do
    expect "settings $settings" \
        "$(get /distill -X POST -H 'Content-Type: application/json' -d "$settings")" "$status"
done <<'CASES'
{"steps":0}|422
{"steps":-1}|422
{"steps":10001}|422
{"steps":1.0}|422
{"steps":"48"}|422
{"batch":0}|422
{"lr":0}|422
{"lr":-1}|422
{"lr":2}|422
{"lr":NaN}|422
{"clip":-1}|422
{"temperature":0}|422
{"holdout":1}|422
{"seed":-1}|422
{"labels":"none"}|422
{"codec":"z"}|422
{"codec":"s2"}|422
{"budget_bytes":-1}|422
{"step":48}|422
{"steps":48,"steps":49}|422
[]|422
{|422
CASES
expect "a round as text" "$(get /distill -X POST -H 'Content-Type: text/plain' -d x)" 415
expect "no round yet" "$(curl -sS "$url/distill" | jq '.rounds | length')" 0

# cancelled: the uploads are new again
id=$(distill "$long")
expect "a second round" "$(get /distill -X POST)" 409
expect "DELETE of a used upload" "$(get /tokens/1 -X DELETE)" 409
sleep 0.5
expect "progress" "$(curl -sS "$url/distill/$id" | jq '.progress.step >= 0')" true
expect "cancel" "$(get "/distill/$id" -X DELETE)" 202
expect "the cancelled round" "$(round_wait "$id")" cancelled
expect "cancel again" "$(get "/distill/$id" -X DELETE)" 409
expect "nothing was published" "$(curl -sS "$url/deltas" | jq '.deltas | length')" 0

# released: a long poll hears of it
curl -sS "$url/deltas?after=0&wait=60" >"$work/poll" &
poll=$!
id=$(distill "$quick")
expect "the round" "$(round_wait "$id")" released
wait "$poll"
expect "the poll" "$(jq -r '.deltas[0].version' "$work/poll")" 1
expect "losses" "$(curl -sS "$url/distill/$id" | jq '.report.losses | length')" 20
expect "a poll for what is there" "$(get '/deltas?after=0&wait=60')" 200
size=$(answer '.deltas[0].size')
sha=$(answer '.deltas[0].sha256')
expect "its base" "$(answer '.deltas[0].base_set_sha256')" "$factory"
expect "the model's hash" "$(curl -sS "$url/model" | jq -r .sha256)" "$(answer '.deltas[0].set_sha256')"
expect "the version" "$(curl -sS "$url/model" | jq .version)" 1
expect "a poll that waits in vain" "$(get '/deltas?after=1&wait=1')" 200
expect "its answer" "$(answer '.deltas | length')" 0
expect "wait=61" "$(get '/deltas?wait=61')" 400
expect "wait=-1" "$(get '/deltas?wait=-1')" 400

# the patch
curl -sS -D "$work/headers" -o "$work/patch" "$url/deltas/1"
expect "the patch's hash" "$(sha256sum "$work/patch" | cut -c1-64)" "$sha"
expect "the patch's size" "$(stat -c %s "$work/patch")" "$size"
etag=$(sed -n 's/^ETag: \(.*\)\r$/\1/p' "$work/headers")
expect "ETag" "$etag" "\"$sha\""
grep -qi '^Cache-Control: .*immutable' "$work/headers" || die "the patch is not immutable"
expect "HEAD" "$(curl -sSI "$url/deltas/1" | sed -n 's/^Content-Length: \(.*\)\r$/\1/p')" "$size"
expect "If-None-Match" "$(get /deltas/1 -H "If-None-Match: $etag")" 304
expect "If-None-Match, other" "$(get /deltas/1 -H 'If-None-Match: "x"')" 200
expect "a range" "$(get /deltas/1 -H 'Range: bytes=10-19')" 206
cmp -s "$work/answer" <(tail -c +11 "$work/patch" | head -c 10) || die "the range differs"
expect "a suffix" "$(get /deltas/1 -H 'Range: bytes=-5')" 206
cmp -s "$work/answer" <(tail -c 5 "$work/patch") || die "the suffix differs"
expect "past the end" "$(get /deltas/1 -H "Range: bytes=$size-")" 416
expect "far past the end" "$(get /deltas/1 -H 'Range: bytes=99999999999999999999-')" 416
expect "reversed" "$(get /deltas/1 -H 'Range: bytes=9-1')" 200
expect "several" "$(get /deltas/1 -H 'Range: bytes=0-1,3-4')" 200
expect "If-Range" "$(get /deltas/1 -H 'Range: bytes=0-1' -H "If-Range: $etag")" 206
expect "If-Range, stale" "$(get /deltas/1 -H 'Range: bytes=0-1' -H 'If-Range: "old"')" 200
head -c 100 "$work/patch" >"$work/part"
curl -sS -C - -o "$work/part" "$url/deltas/1"
cmp -s "$work/part" "$work/patch" || die "the resumed patch differs"
expect "the manifest" "$(get /deltas/1/manifest)" 200
expect "its type" "$(answer .payloadType)" application/vnd.cdcca.manifest+json
expect "its signatures" "$(answer '.signatures | length')" 1
expect "its hash" "$(manifest 1 .patch.sha256)" "$sha"
expect "its gate" "$(manifest 1 .gate.passed)" true
expect "its sequence" "$(manifest 1 .sequence)" 1
for bad in 0 -1 2 01 0x1 1e0 9223372036854775808 99999999999999999999; do
    expect "GET /deltas/$bad" "$(get "/deltas/$bad")" 404
done

# what the round learned from, as a picture: made once, without what was deleted
expect "the map" "$(get "/distill/$id/map")" 200
expect "its points" "$(answer '[.round, .of, (.points | length)] | @csv')" "$id,192,192"
expect "a point's device" "$(answer '.points[0].device')" edge-1
cp "$work/answer" "$work/map"
expect "the map again" "$(get "/distill/$id/map")" 200
cmp -s "$work/answer" "$work/map" || die "the map changed"
expect "made" "$(grep -c 'mapper: round=2' "$work/cloud.log")" 1
expect "its upload is forgotten" "$(get /tokens/1 -X DELETE)" 204
expect "the map without it" "$(get "/distill/$id/map")" 200
expect "what is left of it" "$(answer '[.of, (.points | length)] | @csv')" 0,0
expect "the map of no round" "$(get /distill/999/map)" 404

# uploads for a version that there is now; every upload is used once
expect "nothing new" "$(get /distill -X POST)" 409
BASE=1 payload 2 24 >"$work/b"
expect "an upload for version 1" "$(upload "$work/b")" 201
BASE=2 payload 3 24 >"$work/c"
expect "an upload for version 2" "$(upload "$work/c")" 422
id=$(distill "$quick")
expect "the second round" "$(round_wait "$id")" released
expect "the second version" "$(get /deltas/2/manifest)" 200
expect "its base" "$(manifest 2 .base_version)" 1
expect "its sequence" "$(manifest 2 .sequence)" 2
cloud_stop

# by count, and by time
cloud_start --round-uploads 30
payload 5 16 >"$work/e"
payload 6 16 >"$work/f"
upload "$work/e" >/dev/null
sleep 1.5
expect "rounds before there are enough" "$(curl -sS "$url/distill" | jq '.rounds | length')" 3
upload "$work/f" >/dev/null
sleep 1.5
expect "rounds when there are" "$(curl -sS "$url/distill" | jq '.rounds | length')" 4
expect "its cause" "$(curl -sS "$url/distill" | jq -r '.rounds[0].cause')" count
round_wait 4 >/dev/null
cloud_stop
cloud_start --round-every 1
payload 7 16 >"$work/g"
upload "$work/g" >/dev/null
sleep 3
expect "its cause" "$(curl -sS "$url/distill" | jq -r '.rounds[0].cause')" time
cloud_stop

# several devices: none has more than its share, and the report says so
cloud_start
round_wait "$(curl -sS "$url/distill" | jq '.rounds[0].id')" >/dev/null
DEVICE=loud payload 8 24 >"$work/h"
DEVICE=edge-2 payload 9 2 >"$work/i"
DEVICE=edge-3 payload 10 2 >"$work/j"
for each in h i j; do
    expect "an upload" "$(upload "$work/$each")" 201
done
id=$(distill "$quick")
round_wait "$id" >/dev/null
report=$(curl -sS "$url/distill/$id" | jq -c .report)
expect "devices" "$(jq .devices <<<"$report")" 3
expect "left out" "$(jq -c .left_out <<<"$report")" '{"unusable":0,"over_share":16,"strange":0}'
expect "corrections" "$(jq -c .corrections <<<"$report")" '{"believed":0,"over_share":0,"doubted":0}'
expect "learned from" "$(jq .instances <<<"$report")" 12
cloud_stop
