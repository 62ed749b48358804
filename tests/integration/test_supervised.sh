#!/usr/bin/env bash
# test_supervised.sh: what the two services tell a supervisor: READY=1 when they serve and not before,
# WATCHDOG=1 while they are alive, STOPPING=1 when they are asked to end.
source "$(dirname "$(readlink -f "$0")")/edge.sh"

# states_are FILE EXPECTED: the datagrams, repeated signs of life as one
states_are() {
    expect "$1" "$(uniq "$work/$1.states" | tr '\n' ' ')" "$2 "
}

has_sign_of_life() { [ "$(grep -c WATCHDOG=1 "$work/$1.states")" -ge 2 ]; }
has_ready() { grep -q READY=1 "$work/$1.states"; }

# watched OUT PROGRAM...: in the background, with a watchdog of 2 s; its pid is in $watched_pid
watched() {
    local out=$1
    shift
    WATCHDOG_USEC=2000000 "$bin/notify_watch" "$@" >"$work/$out.states" 2>"$work/$out.log" &
    watched_pid=$!
}

cloud=("$bin/cdcca-cloud" serve --listen 127.0.0.1:0 --data "$work/data" --teacher "$work/teacher"
    --student "$work/student" --threads 1)

# A service that cannot start is never ready.
watched bad "$bin/cdcca-cloud" serve --listen 127.0.0.1:0 --data "$work/data" \
    --teacher "$work/nowhere" --student "$work/student"
wait "$watched_pid"
[ "$(grep -c READY "$work/bad.states")" = 0 ] || die "READY=1 from a cloud without a teacher"

watched nosource "$bin/cdcca-edge" run --cloud http://127.0.0.1:1 --model "$work/student" \
    --data "$work/nosource" --source "$work/nowhere"
wait "$watched_pid"
[ "$(grep -c READY "$work/nosource.states")" = 0 ] || die "READY=1 from an agent without a source"

watched cloud "${cloud[@]}"
cloud_pid=$watched_pid
until_true "the cloud is ready" has_ready cloud
url=$(sed -n 's|.*listening on ||p' "$work/cloud.log")
expect "GET /healthz" "$(get /healthz)" 200
until_true "the cloud gives signs of life" has_sign_of_life cloud

# The agent, with nothing to do: a folder without questions.
mkdir "$work/source"
: >"$work/source/questions.jsonl"
watched edge "$bin/cdcca-edge" run --cloud "$url" --model "$work/student" --data "$work/edge" \
    --source "$work/source" --poll 2
edge_pid=$watched_pid
until_true "the agent is ready" has_ready edge
until_true "the agent gives signs of life" has_sign_of_life edge
kill -TERM "$edge_pid"
wait "$edge_pid"
edge_pid=''
states_are edge "READY=1 WATCHDOG=1 STOPPING=1 EXIT 0"

kill -TERM "$cloud_pid"
wait "$cloud_pid"
cloud_pid=''
states_are cloud "READY=1 WATCHDOG=1 STOPPING=1 EXIT 0"
passed
