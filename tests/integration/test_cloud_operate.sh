#!/usr/bin/env bash
# What someone who runs the cloud relies on: events, metrics, probes, the log's thread from an upload
# to a release, --check-config.
source "$(dirname "$0")/cloud.sh"

# events_open NAME CURL OPTION...: a stream into $work/NAME in the background
events_open() {
    local name=$1
    shift
    : >"$work/$name"
    curl -sSN "$@" >"$work/$name" 2>"$work/$name.err" &
    echo $! >"$work/$name.pid"
}

# await FILE PATTERN: until a line of $work/FILE matches
await() {
    for _ in $(seq 200); do
        grep -qE "$2" "$work/$1" && return 0
        sleep 0.1
    done
    cp "$work/$1" "$work/answer"
    die "$1 has no line like $2"
}

# data FILE EVENT: the data of the file's events of a kind, one a line
data() {
    awk -v event="$2" '/^event: /{is = $2 == event} /^data: /{if (is) print substr($0, 7)}' "$work/$1"
}

# --check-config finds what is wrong and starts nothing
check() { # OPTION...: its exit status
    local code=0
    "$bin/cdcca-cloud" serve --check-config --teacher "$work/teacher" --student "$work/student" "$@" \
        >"$work/answer" 2>&1 || code=$?
    echo "$code"
}
expect "a check" "$(check --data "$work/none/yet")" 0
[ ! -e "$work/none" ] || die "a check made the data directory"
expect "a bad address" "$(check --data "$work/data" --listen nowhere)" 2
expect "a bad model" "$(check --data "$work/data" --student "$work/nothing")" 66
expect "another encoder" "$(check --data "$work/data" --student "$work/stranger")" 65
expect "an unknown option" "$(check --dta "$work/data")" 2
expect "a bad format" "$(check --data "$work/data" --log xml)" 2
touch "$work/file"
expect "a file for a directory" "$(check --data "$work/file")" 74
mkdir "$work/newer"
sqlite3 "$work/newer/cloud.db" 'PRAGMA user_version=999' 2>/dev/null || rmdir "$work/newer"
[ ! -d "$work/newer" ] || expect "a newer database" "$(check --data "$work/newer")" 65

cloud_start --log json
cat "$work/cloud.log" | jq -e . >/dev/null || die "the log is not JSON"
expect "a check beside a running one" "$(check --data "$work/data" --listen "127.0.0.1:$port")" 0

# probes
expect "alive" "$(get /healthz)" 200
expect "ready" "$(get /readyz)" 200

# an upload and a round, as events
events_open all "$url/events"
events_open rounds "$url/events?types=round,release"
await all '^retry: '
await rounds '^retry: '
payload 1 16 >"$work/up"
expect "an upload" "$(upload "$work/up" -H 'X-Request-Id: grep-me')" 201
upload_id=$(answer .id)
id=$(distill '{"holdout":0,"steps":30,"batch":8}')
expect "the round" "$(round_wait "$id")" released
await rounds '^event: release'
await all '^event: release'
expect "its states" "$(data all round | jq -r .state | tr '\n' ' ')" "queued running released "
expect "its upload" "$(data all upload | jq -r '"\(.id) \(.instances)"')" "$upload_id 16"
expect "its last step" "$(data all step | tail -n 1 | jq -r '"\(.step)/\(.steps)"')" "30/30"
await all '^data: .*"state":"complete"'
expect "its release" "$(data all release | jq -r 'select(.round) | "\(.version) \(.round)"')" "1 $id"
expect "its rollout" "$(data all release | jq -r 'select(.state) | "\(.version) \(.state)"')" "1 complete"
await rounds '^data: .*"state":"complete"'
expect "the same, alone" "$(data rounds release)" "$(data all release)"
expect "no others" "$(grep -cE '^event: (step|upload)' "$work/rounds")" 0

# what devices say of themselves
events_open devices "$url/events?types=device"
await devices '^retry: '
tell() { # METHOD PATH BODY
    get "$2" -X "$1" -H 'Content-Type: application/json' -d "$3"
}
expect "a device" "$(tell PUT /devices/door-1 '{"class": "door"}')" 200
expect "its version" "$(tell PUT /devices/door-1 '{"version": 0}')" 200
expect "its report" "$(tell POST /devices/door-1/feedback '{"version": 1, "outcome": "failed", "reason": "no room"}')" 204
await devices '"outcome":"failed"'
expect "what is heard of it" "$(data devices device | jq -c . | tr '\n' ' ')" \
    '{"id":"door-1"} {"id":"door-1","version":0} {"id":"door-1","version":1,"outcome":"failed"} '
expect "unknown types" "$(get '/events?types=round,sheep')" 400
expect "unknown parameters" "$(get '/events?type=round')" 400

# back again: what was missed, and a reset where nobody knows
first=$(awk '/^id: /{print $2; exit}' "$work/all")
events_open again -H "Last-Event-ID: $first" "$url/events"
await again '^event: release'
expect "what was missed" "$(sed -n '/^id: /p' "$work/again")" "$(sed -n '/^id: /p' "$work/all" | tail -n +2)"
events_open reset -H 'Last-Event-ID: 00000000-7' "$url/events"
await reset '^event: reset'

# metrics hold, and count
curl -sS "$url/metrics" >"$work/answer"
"$bin/check_metrics" <"$work/answer" || die "the metrics are not well formed"
metric() { # PATTERN: its value
    awk -v name="$1" 'index($0, name " ") == 1 {print $2}' "$work/answer"
}
expect "uploads counted" "$(metric 'cdcca_uploads_total{result="stored"}')" 1
expect "rounds counted" "$(metric 'cdcca_rounds_total{state="released"}')" 1
expect "the version" "$(metric cdcca_release_version)" 1
expect "streams" "$(metric cdcca_event_streams)" 5
expect "requests counted" "$(metric 'cdcca_http_requests_total{route="/tokens",method="POST",code="201"}')" 1
[ "$(metric cdcca_upload_bytes_total)" -gt 0 ] || die "no bytes counted"
[ "$(metric process_resident_memory_bytes)" -gt 1000000 ] || die "no memory counted"

# the log: every line is JSON, and a search leads from the request to the release
expect "an injection" "$(get '/none' -H $'X-Request-Id: a b"\x1b')" 404
jq -e . "$work/cloud.log" >/dev/null || die "the log is not JSON"
found() { # FILTER: what it prints of the one line it selects
    jq -r "$1" "$work/cloud.log"
}
expect "the request" "$(found 'select(.request == "grep-me") | .upload')" "$upload_id"
expect "its round" "$(found "select(.message == \"learning from\" and .upload == $upload_id) | .round")" "$id"
expect "its release" "$(found "select(.message == \"released\" and .round == $id) | .version")" 1

# the end: every stream is told so, at once
cloud_stop
for name in all rounds again reset; do
    wait "$(cat "$work/$name.pid")" || die "$name did not end well: $(cat "$work/$name.err")"
    expect "the end of $name" "$(data "$name" end)" '{"reason":"stopping"}'
done
