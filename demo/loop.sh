# loop.sh: the two programs as the demo, the benches and the tests run them: start, follow, score,
# stop. Sourced after shell.sh, never run.
# Settings (from the environment, or set before use): bin, teacher, student, port.

bin=${CDCCA_BIN:-build}
teacher=${CDCCA_TEACHER:-models/teacher}
student=${CDCCA_STUDENT:-models/student}
port=${port:-8080}
segment=${CDCCA_SEGMENT:-910} # samples per round
upload_budget=0.1             # share of them that may be uploaded
token_bits=4
cloud_pid='' edge_pid=''

loop_url() {
    echo "http://127.0.0.1:$port"
}

loop_check() {
    local name
    for name in cdcca-cloud cdcca-edge cdcca-model; do
        [ -x "$bin/$name" ] || die "$bin/$name is not built; run ./quickstart build"
    done
    for name in "$teacher" "$student"; do
        [ -f "$name/model.safetensors" ] || die "$name holds no model.safetensors"
    done
    if port_taken "$port"; then
        die "port $port on 127.0.0.1 is taken; free it or give another with --port"
    fi
}

cloud_start() { # DIR
    "$bin/cdcca-cloud" serve --listen "127.0.0.1:$port" --data "$1/cloud" \
        --teacher "$teacher" --student "$student" 2>"$1/cloud.log" >&2 &
    cloud_pid=$!
    wait_http "$(loop_url)/healthz" "$cloud_pid" && return 0
    tail -n 5 "$1/cloud.log" >&2
    die "the cloud did not start; its log: $1/cloud.log"
}

# edge_start DIR SOURCE SEED ROUNDS: one JSON object per finished round on descriptor 3
edge_start() {
    exec 3< <(exec "$bin/cdcca-edge" run --cloud "$(loop_url)" --model "$student" \
        --data "$1/edge" --source "$2" --segment "$segment" --lockstep \
        --budget "$upload_budget" --bits "$token_bits" \
        --seed "$3" --rounds "$4" --json 2>"$1/edge.log")
    edge_pid=$!
}

# edge_follow DIR ROUNDS COMMAND...: calls COMMAND... ROUND for each of the edge's rounds, with its
# JSON in DIR/round-ROUND.edge and the parameters it ended with in DIR/round-ROUND.safetensors
edge_follow() {
    local dir=$1 rounds=$2 round=0 line
    shift 2
    while read -r line <&3; do
        round=$((round + 1))
        printf '%s\n' "$line" >"$dir/round-$round.edge"
        cp "$dir/edge/slots/v$(jq -r .version <<<"$line").safetensors" \
            "$dir/round-$round.safetensors"
        "$@" "$round"
    done
    if ! wait "$edge_pid" || [ "$round" -ne "$rounds" ]; then
        tail -n 5 "$dir/edge.log" >&2
        die "the edge stopped after $round of $rounds rounds; its log: $dir/edge.log"
    fi
    edge_pid=''
}

# score DATA COUNT SEED MODEL [OPTION...]: evaluation as JSON on stdout
score() {
    local source=$1 count=$2 seed=$3 model=$4
    shift 4
    "$bin/cdcca-model" eval --model "$model" "$@" --data "$source" --count "$count" \
        --seed "$seed" --threads 1 --json
}

# identical DIR: true when both sides hold the same parameters, to the bit
identical() {
    local here there
    here=$("$bin/cdcca-edge" status --data "$1/edge" --json | jq -r .sha256)
    there=$(curl -fsS "$(loop_url)/model" | jq -r .sha256)
    if [ -n "$here" ] && [ "$here" = "$there" ]; then echo true; else echo false; fi
}

# stop PID: asks it and its children, and waits until it is gone
stop() {
    [ -n "$1" ] || return 0
    # shellcheck disable=SC2046 # the children are words
    kill "$1" $(cat "/proc/$1/task/$1/children" 2>/dev/null) 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

loop_stop() {
    stop "$edge_pid"
    edge_pid=''
    stop "$cloud_pid"
    cloud_pid=''
}
