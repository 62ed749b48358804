# serve.sh: what the tests of `cdcca-edge serve` share, on top of edge.sh. Sourced with $1.
source "$(dirname "${BASH_SOURCE[0]}")/edge.sh"
base='' # of the API, such as http://127.0.0.1:40123/v1

# serve_start OPTION...: on a free port; waits until it listens
serve_start() {
    : >"$work/serve.log"
    "$bin/cdcca-edge" serve --listen 127.0.0.1:0 --threads 1 "$@" 2>>"$work/serve.log" &
    edge_pid=$!
    local tries
    for tries in $(seq 300); do
        base=$(sed -n 's|.*listening on \(http://[^ ,]*\),.*|\1|p' "$work/serve.log")
        [ -z "$base" ] || {
            witness edge.yaml "$base"
            base=$witnessed
            return 0
        }
        kill -0 "$edge_pid" 2>/dev/null || break
        sleep 0.1
    done
    die "serve did not start: $(tail -n 3 "$work/serve.log")"
}

# serve_stop: by SIGTERM; the exit status must be 0
serve_stop() {
    kill -TERM "$edge_pid"
    edge_end "serve after SIGTERM"
}

# post PATH BODY [CURL OPTION...]: prints the status; the answer is in $work/answer
post() {
    local path=$1 body=$2
    shift 2
    curl -sS -o "$work/answer" -w '%{http_code}' -H 'Content-Type: application/json' "$@" \
        --data-binary "$body" "$base$path"
}

# picture FILE: its data URL
picture() {
    echo "data:image/png;base64,$(base64 -w 0 "$1")"
}

# question TEXT [JQ FILTER]: a chat about $work/scene.png, changed by the filter
question() {
    jq -n -c --arg text "$1" --arg url "$(picture "$work/scene.png")" '
        {model: "student", messages: [{role: "user", content: [
            {type: "text", text: $text}, {type: "image_url", image_url: {url: $url}}]}]} | '"${2:-.}"
}

"$bin/cdcca-model" generate-world world:source --count 1 --out "$work/world" >"$work/said" 2>&1 ||
    die "generate-world: $(cat "$work/said")"
cp "$(find "$work/world" -name '*.png' | head -n 1)" "$work/scene.png"
