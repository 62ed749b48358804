# cloud.sh: what the cloud's tests share. Sourced with $1 = the folder of the built programs. Makes a
# work folder with tiny models, removed at the end together with the servers still running.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(readlink -f "$1")
work=$(mktemp -d /tmp/cdcca-cloud-XXXXXX)
cloud_pid=''
witness_pids=()
witnessed=''
port=0
url=''

die() {
    echo "FAIL: $*" >&2
    [ -f "$work/cloud.log" ] && tail -n 20 "$work/cloud.log" >&2
    exit 1
}

cleanup() {
    if [ -n "$cloud_pid" ]; then kill -9 "$cloud_pid" 2>/dev/null || true; fi
    [ ${#witness_pids[@]} -eq 0 ] || kill -9 "${witness_pids[@]}" 2>/dev/null || true
    local wrong
    wrong=$(grep '^FAIL' "$work/exchanges" 2>/dev/null || true)
    rm -rf "$work"
    [ -z "$wrong" ] || {
        echo "the contract does not say: $(head -c 4000 <<<"$wrong")" >&2
        exit 1
    }
}
trap cleanup EXIT

# witness CONTRACT URL: sets $witnessed, by which the clients of an integration test reach the service
# at URL through tests/contract/witness.mjs, where its packages are (install.sh): it holds each exchange
# against the contract, and what is wrong fails the test at its end. One for a contract, whatever
# service is behind it.
witness() {
    local at="$work/witness.$1" port=${2#*://*:}
    witnessed=$2
    [ -f "$here/../contract/node_modules/.of-lock" ] && [ "$(dirname "$(readlink -f "$0")")" = "$here" ] || return 0
    echo "${port%%/*}" >"$at.upstream"
    if [ ! -s "$at.port" ]; then
        node "$here/../contract/witness.mjs" "$here/../../openapi/$1" "$at.upstream" "$work/exchanges" >"$at.port" &
        witness_pids+=($!)
        disown
        for _ in $(seq 300); do [ -s "$at.port" ] || sleep 0.1; done
    fi
    witnessed=${2/:${port%%/*}/:$(cat "$at.port")}
}

# cloud_start OPTION...: on a free port; waits until it listens
cloud_start() {
    : >"$work/cloud.log"
    "$bin/cdcca-cloud" serve --listen 127.0.0.1:0 --data "$work/data" --teacher "$work/teacher" \
        --student "$work/student" --threads 1 "$@" 2>>"$work/cloud.log" &
    cloud_pid=$!
    local tries
    for tries in $(seq 300); do
        url=$(sed -n 's|.*listening on \(https*://[^"]*\).*|\1|p' "$work/cloud.log")
        if [ -n "$url" ]; then
            port=${url##*:}
            case $url in http://*)
                witness openapi.yaml "$url"
                url=$witnessed
                ;;
            esac
            return 0
        fi
        kill -0 "$cloud_pid" 2>/dev/null || die "the cloud did not start"
        sleep 0.1
    done
    die "the cloud did not start within 30 s"
}

# cloud_stop: by SIGTERM; the exit status must be 0
cloud_stop() {
    kill -TERM "$cloud_pid"
    wait "$cloud_pid" || die "exit status $? after SIGTERM"
    cloud_pid=''
}

cloud_kill() {
    kill -9 "$cloud_pid"
    wait "$cloud_pid" 2>/dev/null || true
    cloud_pid=''
}

# payload SEED COUNT [json]: an upload on stdout
payload() {
    "$bin/make_payload" "$work/student" "$@"
}

# upload FILE [CURL OPTION...], in another form=json: prints the status; the answer is in $work/answer
upload() {
    local file=$1
    shift
    curl -sS -o "$work/answer" -w '%{http_code}' -H "Content-Type: application/${form:-x-safetensors}" \
        "$@" --data-binary "@$file" "$url/tokens"
}

# get PATH [CURL OPTION...]: prints the status; the answer is in $work/answer
get() {
    local path=$1
    shift
    curl -sS -o "$work/answer" -w '%{http_code}' "$@" "$url$path"
}

# manifest VERSION [JQ FILTER]: what its signed manifest says
manifest() {
    curl -sS "$url/deltas/$1/manifest" | jq -r ".payload | @base64d | fromjson | ${2:-.}"
}

answer() { # JQ FILTER
    jq -r "$1" "$work/answer"
}

# expect WHAT IS SHOULD
expect() {
    [ "$2" = "$3" ] || die "$1 is $2, should be $3; answer: $(head -c 400 "$work/answer")"
}

# round_wait ID: until it is over; prints its state
round_wait() {
    local state end=$((SECONDS + 300))
    while [ "$SECONDS" -lt "$end" ]; do
        get "/distill/$1" >/dev/null
        state=$(answer .state)
        case $state in
        queued | running) sleep 0.1 ;;
        *)
            echo "$state"
            return 0
            ;;
        esac
    done
    die "round $1 did not end within 300 s"
}

# kept FILE: the store has the bytes of this upload
kept() {
    "$bin/stored_uploads" "$work/data" | grep -q "^$(sha256sum "$1" | cut -c1-64)\$"
}

# distill SETTINGS: starts a round, prints its id
distill() {
    expect "POST /distill" "$(get /distill -X POST -H 'Content-Type: application/json' -d "$1")" 202
    answer .id
}

"$bin/make_tiny" "$work" || die "no tiny models"
