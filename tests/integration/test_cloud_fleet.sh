#!/usr/bin/env bash
# A fleet of fifty over real sockets: who is offered what in which stage, halting by failures and by
# silence, resuming, rolling back to the bit, a patch over several versions, lineage, removal.
source "$(dirname "$0")/cloud.sh"
quick='{"holdout":0,"steps":2,"batch":8}'
fleet=$(seq -f 'd%02.0f' 1 50)

put() { # ID JSON
    expect "PUT $1" "$(get "/devices/$1" -X PUT -H 'Content-Type: application/json' -d "$2")" 200
}
# all COMMAND TAIL CURL-OPTION...: one request to /COMMAND/DEVICETAIL for each of $devices, over one
# connection; prints the statuses, each once, with their number
all() {
    local command=$1 tail=$2 device urls=()
    shift 2
    for device in $devices; do urls+=(-o /dev/null "$url/$command/$device$tail"); done
    curl -sS -w '%{http_code}\n' -H 'Content-Type: application/json' "$@" "${urls[@]}" |
        sort | uniq -c | xargs
}
feedback() { # VERSION OUTCOME ID...
    local version=$1 outcome=$2
    shift 2
    expect "feedback" "$(devices=$* all devices /feedback -d "{\"version\":$version,
        \"outcome\":\"$outcome\",\"seconds\":0.5,
        \"self_test\":{\"golden\":4,\"golden_right\":4,\"finite\":true}}")" "$# 204"
}
offered() { # ID VERSION: the newest version that it may take; empty: none
    get "/deltas?after=$2&device=$1" >/dev/null
    answer '.deltas[-1].version // empty'
}
release_is() { # VERSION JQ VALUE: becomes true within 10 s
    local tries
    for tries in $(seq 100); do
        get "/releases/$1" >/dev/null
        [ "$(answer "$2")" != "$3" ] || return 0
        sleep 0.1
    done
    die "release $1: $2 is $(answer "$2"), should be $3"
}
round_make() { # SEED BASE: one upload and the round that it makes
    BASE=$2 payload "$1" 8 >"$work/up"
    expect "upload $1" "$(upload "$work/up")" 201
    id=$(distill "$quick")
    expect "round $id" "$(round_wait "$id")" released
}
# who is offered VERSION: all ask first, as one report may open the next stage; then they report
take_stage() { # FROM VERSION OUTCOME
    local device polls=() takers
    mkdir -p "$work/polls"
    for device in $fleet; do
        polls+=(-o "$work/polls/$device" "$url/deltas?after=$1&device=$device")
    done
    curl -sS "${polls[@]}"
    mapfile -t takers < <(jq -r "select(.deltas[-1].version == $2) | input_filename" "$work"/polls/* |
        sed 's|.*/||')
    taken=${#takers[@]}
    [ "$taken" = 0 ] || feedback "$2" "$3" "${takers[@]}"
}

cloud_start --rollout 'beta=100%,30%:0s:90%:5%,100%'
expect "fifty PUTs" "$(devices=$fleet all devices "" -X PUT -d '{"class":"camera","program":"0.1.0"}')" \
    "50 200"
put d01 '{"channel":"beta"}'
put d02 '{"channel":"beta"}'
while IFS='|' read -r body status; do
    expect "PUT $body" "$(get /devices/x -X PUT -H 'Content-Type: application/json' -d "$body")" "$status"
done <<'CASES'
{"version":-1}|422
{"version":1.0}|422
{"channel":""}|422
{"channel":"a b"}|422
{"set_sha256":"00"}|422
{"extra":1}|422
[]|422
{|422
CASES
expect "a bad id" "$(get "/deltas?device=a%20b")" 400
expect "an unknown device" "$(get /devices/x)" 404
expect "feedback without a release" "$(get /devices/d01/feedback -H 'Content-Type: application/json' \
    -d '{"version":1,"outcome":"applied"}')" 404

# in stages: a channel, a share, everyone
round_make 1 0
expect "offered to d03" "$(offered d03 0)" ""
expect "offered to no one in particular" "$(curl -sS "$url/deltas" | jq '.deltas | length')" 0
take_stage 0 1 applied
expect "the first stage" "$taken" 2
release_is 1 .stage 2
take_stage 0 1 applied
[ "$taken" -ge 5 ] && [ "$taken" -le 27 ] || die "30% of 50 devices are $taken"
release_is 1 .stage 3
take_stage 0 1 applied
release_is 1 .state complete
expect "its counts" "$(answer '[.counts.offered, .counts.applied, .counts.failed] | @csv')" 50,50,0
expect "offered to everyone" "$(curl -sS "$url/deltas" | jq '.deltas | length')" 1
expect "the fleet" "$(get /fleet)" 200
expect "its counts" "$(answer '[.devices, .health.ok, .offered_to_all] | @csv')" 50,50,1
expect "a page of devices" "$(get '/devices?version=1&limit=20&health=ok')" 200
expect "its next" "$(answer .next)" d20
expect "the next page" "$(get "/devices?version=1&limit=40&after=d20")" 200
expect "its length" "$(answer '.devices | length')" 30
expect "a channel's devices" "$(curl -sS "$url/devices?channel=beta" | jq -c '[.devices[].id]')" '["d01","d02"]'
expect "of a version" "$(curl -sS "$url/devices?channel=beta&version=1&after=d01" | jq -c '[.devices[].id]')" '["d02"]'
expect "a self-test" "$(curl -sS "$url/devices/d05" | jq .update.self_test.golden_right)" 4

# failures halt it, and nothing more is offered
round_make 2 1
take_stage 1 2 failed
release_is 2 .state halted
answer .detail | grep -q 'failed' || die "no reason: $(answer .detail)"
expect "offered when halted" "$(offered d03 1)" ""
expect "failing devices" "$(curl -sS "$url/devices?health=failing" | jq '.devices | length')" 2
expect "resume" "$(get /releases/2/resume -X POST)" 200
expect "resume again" "$(get /releases/2/resume -X POST)" 409
expect "offered again" "$(offered d01 1)" 2
feedback 2 applied d01
feedback 2 applied d02
release_is 2 .stage 2
expect "halt" "$(get /releases/2/halt -X POST)" 200
expect "its state" "$(answer .state)" halted
expect "halt again" "$(get /releases/2/halt -X POST)" 409
expect "no such release" "$(get /releases/9/halt -X POST)" 404

# back to version 1, to the bit, as version 3; the way there leads round version 2
set1=$(curl -sS "$url/releases/1" | jq -r .set_sha256)
expect "a rollback to itself" "$(get /releases/2/rollback -X POST -H 'Content-Type: application/json' \
    -d '{"to":2}')" 422
expect "rollback" "$(get /releases/2/rollback -X POST)" 202
expect "its cause" "$(answer .cause)" rollback
expect "its round" "$(round_wait "$(answer .id)")" released
get /releases/3 >/dev/null
expect "its parameters" "$(answer .set_sha256)" "$set1"
release_is 2 .state superseded
expect "offered to d01" "$(offered d01 2)" 3
get '/deltas?after=1&device=d02&squash=1' >/dev/null
expect "a patch over two versions" "$(get '/deltas/3?from=1')" 200
size=$(stat -c %s "$work/answer")
expect "what is offered then" "$(get '/deltas?after=1&device=d02&squash=1')" 200
expect "the way" "$(answer '.deltas[] | [.base_version, .version, .size] | @csv')" "1,3,$size"
expect "its manifest" "$(get '/deltas/3/manifest?from=1')" 200
expect "its base" "$(answer '.payload | @base64d | fromjson | .base_set_sha256')" "$set1"
expect "its patch" "$(answer '.payload | @base64d | fromjson | .patch.size')" "$size"
expect "its signatures" "$(answer '.signatures | length')" 1
expect "its sequence is the version's" "$(answer '.payload | @base64d | fromjson | .sequence')" \
    "$(curl -sS "$url/deltas/3/manifest" | jq '.payload | @base64d | fromjson | .sequence')"
expect "from itself" "$(get '/deltas/3?from=3')" 400
expect "from 0" "$(get '/deltas/3?from=0')" 200
feedback 3 applied d01
feedback 3 applied d02
round_make 3 3
expect "the next round's base" "$(curl -sS "$url/releases/4" | jq .base_version)" 3
expect "its parameters" "$(curl -sS "$url/deltas/4/manifest" |
    jq -r '.payload | @base64d | fromjson | .base_set_sha256')" "$set1"
expect "devices counted" "$(curl -sS "$url/metrics" | awk '/^cdcca_devices/ { n += $2 } END { print n }')" \
    "$(curl -sS "$url/fleet" | jq .devices)"

# lineage
expect "an upload's release" "$(curl -sS "$url/tokens/1" | jq -c '[.round, .version]')" '[1,1]'
expect "a round's uploads" "$(curl -sS "$url/tokens?round=1" | jq -c '[.uploads[].id]')" '[1]'
expect "the round" "$(curl -sS "$url/distill/1" | jq -c '[.upload_ids, .version]')" '[[1],1]'
expect "the release" "$(curl -sS "$url/releases/1" | jq -c '[.round, .upload_ids]')" '[1,[1]]'
curl -sS "$url/releases/1" | jq -e '.tensors | length > 5 and all(.values > 0 and (.codec | length) == 1)' \
    >/dev/null || die "no tensors"
expect "releases" "$(curl -sS "$url/releases?limit=2" | jq -c '[.next, (.releases[].version)]')" '[3,4,3]'

expect "the newest uploads" "$(curl -sS "$url/tokens?before=99&limit=2" | jq -c '[.next, (.uploads[].id)]')" '[2,3,2]'
expect "those before" "$(curl -sS "$url/tokens?before=2" | jq -c '[.uploads[].id]')" '[1]'
expect "both ends" "$(get '/tokens?before=2&after=1')" 400
expect "what a round's uploads weigh" "$(curl -sS "$url/distill/1" | jq '[.size, .tokens] | @csv' -r)" \
    "$(curl -sS "$url/tokens/1" | jq '[.size, .tokens] | @csv' -r)"

# removal, also of what a round has used; and by age
stored() { "$bin/stored_uploads" "$work/data"; }
sha=$(curl -sS "$url/tokens/1" | jq -r .sha256)
stored | grep -q "$sha" || die "no bytes of upload 1"
expect "DELETE" "$(get /tokens/1 -X DELETE)" 204
! stored | grep -q "$sha" || die "the bytes of upload 1 are still there"
expect "the upload" "$(get /tokens/1)" 404
expect "the round's uploads" "$(curl -sS "$url/distill/1" | jq -c .upload_ids)" '[]'
payload 9 8 >"$work/new"
expect "a new upload" "$(upload "$work/new")" 201
budget=$(($(curl -sS "$url/releases/4" | jq .size) * 3 / 4))
cloud_stop
cloud_start --retain-days 0.000001 --silent-after 2 --rollout 100%:1m --class-budget "robot=99999,camera=$budget"
for _ in $(seq 100); do
    [ "$(stored | wc -l)" -gt 1 ] || break
    sleep 0.1
done
expect "what is left" "$(curl -sS "$url/tokens" | jq -c '[.uploads[].id]')" '[4]'
expect "bytes left" "$(stored)" "$(curl -sS "$url/tokens/4" | jq -r .sha256)"

# a class's budget holds; who takes a release and is heard of no more counts as an error
id=$(distill "$quick")
expect "the round" "$(round_wait "$id")" released
get /releases/5 >/dev/null
[ "$(answer .size)" -le "$budget" ] || die "the patch has $(answer .size) bytes, not $budget"
expect "offered to d07" "$(offered d07 1)" 5
release_is 5 .state halted
expect "silent ones" "$(answer .counts.silent)" 1
cloud_stop
