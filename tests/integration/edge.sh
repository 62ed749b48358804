# edge.sh: what the edge's tests share, on top of cloud.sh. Sourced with $1 = the built programs.
source "$(dirname "${BASH_SOURCE[0]}")/cloud.sh"
edge_pid=''

edge_cleanup() {
    if [ -n "$edge_pid" ]; then kill -9 "$edge_pid" 2>/dev/null || true; fi
    [ ! -s "$work/edge.log" ] || tail -n 12 "$work/edge.log" >&2
    cleanup
}
trap edge_cleanup EXIT

# passed: the end of a test; its logs are of no interest then
passed() {
    rm -f "$work/edge.log"
    exit 0
}

# edge DATA OPTION...: the agent in the foreground, answers or rounds into $work/lines
edge() {
    local data=$1
    shift
    "$bin/cdcca-edge" run --cloud "$url" --model "$work/student" --data "$work/$data" --poll 2 "$@" \
        >>"$work/lines" 2>>"$work/edge.log"
}

# edge_start DATA OPTION...: the same in the background
edge_start() {
    local data=$1
    shift
    "$bin/cdcca-edge" run --cloud "$url" --model "$work/student" --data "$work/$data" --poll 2 "$@" \
        >>"$work/lines" 2>>"$work/edge.log" &
    edge_pid=$!
}

# edge_end WHAT: waits for it; its exit status must be 0
edge_end() {
    local code=0
    wait "$edge_pid" || code=$?
    edge_pid=''
    [ "$code" -eq 0 ] || die "$1: exit status $code"
}

edge_kill() {
    kill -9 "$edge_pid"
    wait "$edge_pid" 2>/dev/null || true
    edge_pid=''
}

# status DATA FIELD
status() {
    "$bin/cdcca-edge" status --data "$work/$1" --json 2>/dev/null | jq -r ".$2"
}

# until_true WHAT COMMAND...: within 60 s
until_true() {
    local what=$1
    shift
    for _ in $(seq 600); do
        if "$@"; then return 0; fi
        sleep 0.1
    done
    die "not within 60 s: $what"
}

logged() { grep -q -- "$1" "$work/edge.log" 2>/dev/null; }
status_is() { [ "$(status "$1" "$2")" = "$3" ]; }
round_state_is() { [ "$(curl -sS "$url/distill" | jq -r '.rounds[0].state // "none"')" = "$1" ]; }

# same_parameters DATA VERSION: the edge and the cloud hold the same, at this version
same_parameters() {
    get /model >/dev/null
    expect "the cloud's version" "$(answer .version)" "$2"
    expect "the edge's version" "$(status "$1" version)" "$2"
    expect "the edge's parameters" "$(status "$1" sha256)" "$(answer .sha256)"
}
