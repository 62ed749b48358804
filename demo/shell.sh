# shell.sh: what the repository's scripts share. Sourced, never run.
# Progress goes to stderr, results to stdout; output of quiet commands goes to a log.

say() {
    printf '%s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# quietly LABEL LOG COMMAND...: runs with output to the log; one line of progress; the log's tail
# when it fails. Returns the command's status.
quietly() {
    local label=$1 log=$2 start=$SECONDS watcher='' code=0
    shift 2
    mkdir -p "$(dirname "$log")"
    : >"$log"
    if [ -t 2 ]; then
        watch_log "$label" "$log" &
        watcher=$!
    fi
    "$@" </dev/null >"$log" 2>&1 || code=$?
    if [ -n "$watcher" ]; then
        kill "$watcher" 2>/dev/null || true
        wait "$watcher" 2>/dev/null || true
        printf '\r\033[K' >&2
    fi
    if [ "$code" -eq 0 ]; then
        printf '%-44s ok      %4d s\n' "$label" $((SECONDS - start)) >&2
    else
        printf '%-44s FAILED  %4d s\n' "$label" $((SECONDS - start)) >&2
        tail -n 25 "$log" | sed 's/^/    | /' >&2
        say "    the whole log: $log"
    fi
    return "$code"
}

# watch_log LABEL LOG: redraws the log's last line until it is killed or the script is gone.
watch_log() {
    while kill -0 $$ 2>/dev/null; do
        printf '\r\033[K%-32s %.46s' "$1" "$(tail -n 1 "$2" | tr -d '\r' | cut -c1-46)" >&2
        sleep 1
    done
}

# port_taken PORT: whether something listens on 127.0.0.1:PORT
port_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_http URL PID: until the URL answers; fails when the process is gone, or after 30 s
wait_http() {
    local tries
    for tries in $(seq 300); do
        if curl -fsS -o /dev/null --max-time 2 "$1" 2>/dev/null; then
            return 0
        fi
        kill -0 "$2" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}
