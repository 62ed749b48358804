#!/usr/bin/env bash
# cdcca-edge serve with curl, as a stranger would use it: ask about a picture, read the stream, see
# which version answers, say what would have been right, and what the errors look like. Then the
# loop: what was asked and corrected reaches the cloud, and the model that comes back answers.
source "$(dirname "$0")/serve.sh"
ask() { post /chat/completions "$@"; }

# --- a question about a picture ---

cloud_start
serve_start --model "$work/student" --data "$work/a" --cloud "$url" --budget 1 --window 4 --poll 1
expect "a question" "$(ask "$(question "what color is it?")")" 200
expect "its form" "$(answer '[.object, .model, .choices[0].index, .choices[0].message.role] | tostring')" \
    '["chat.completion","student@0",0,"assistant"]'
expect "text, end, id" "$(answer '[(.choices[0].message.content | type),
    (.choices[0].finish_reason | test("^(stop|length)$")), (.id | test("^chatcmpl-[0-9a-f]+$"))] |
    tostring')" '["string",true,true]'
expect "usage" "$(answer '.usage | .total_tokens == .prompt_tokens + .completion_tokens')" true
expect "our own object" "$(answer '.cdcca | [.version, (.entropy >= 0), (.sampled | type),
    (.threshold | type), (.reason | type)] | tostring')" '[0,true,"boolean","number","string"]'
first=$(answer .choices[0].message.content)
ask "$(question "what color is it?")" >/dev/null
expect "the same question, greedily" "$(answer .choices[0].message.content)" "$first"
id=$(answer .id)

# --- settings ---

expect "max_tokens" "$(ask "$(question "red" '.max_tokens = 1')")" 200
expect "tokens taken" "$(answer .usage.completion_tokens)" 1
expect "max_completion_tokens" "$(ask "$(question "red" '.max_completion_tokens = 2')")" 200
for seed in 1 1 2; do
    ask "$(question "red" ".temperature = 2 | .seed = $seed | .max_tokens = 24")" >/dev/null
    answer .choices[0].message.content >>"$work/drawn.$seed"
done
expect "the same seed twice" "$(uniq "$work/drawn.1" | wc -l)" 1
cmp -s <(head -n 1 "$work/drawn.1") "$work/drawn.2" && die "another seed, the same text"
expect "log-probabilities" "$(ask "$(question "red" '.logprobs = true | .top_logprobs = 3 | .max_tokens = 2')")" 200
expect "their form" "$(answer '.choices[0].logprobs.content[0] | [(.token | type), (.bytes | type),
    (.logprob <= 0), (.top_logprobs | length), (.top_logprobs[0].logprob >= .top_logprobs[1].logprob),
    (.logprob == .top_logprobs[0].logprob)] | tostring')" '["string","array",true,3,true,true]'

# --- a stream: server-sent events, the same text in pieces ---

curl -sS -N -D "$work/headers" -H 'Content-Type: application/json' "$base/chat/completions" \
    --data-binary "$(question "what color is it?" '.stream = true | .stream_options.include_usage = true')" |
    sed -n 's/^data: //p' >"$work/events"
grep -qi '^content-type: text/event-stream' "$work/headers" || die "the stream's type"
expect "the last event" "$(tail -n 1 "$work/events")" "[DONE]"
sed -i '$d' "$work/events"
expect "the text in pieces" "$(jq -r -s 'map(.choices[0].delta.content // "") | add' "$work/events")" "$first"
expect "one id" "$(jq -s 'map(.id) | unique | length' "$work/events")" 1
expect "the end" "$(jq -r -s 'map(.choices[0].finish_reason // empty) | length' "$work/events")" 1
expect "usage last" "$(jq -s '.[-1] | .choices == [] and .usage.total_tokens > 0' "$work/events")" true
expect "cdcca" "$(jq -c -s 'map(.cdcca.version // empty)' "$work/events")" '[0]'
expect "a stream that is wrong" "$(ask "$(question "red" '.stream = true | .model = "x"')")" 404

# --- what would have been right: on disk before it is acknowledged ---

expect "a correction" "$(post /feedback "$(jq -n -c --arg id "$id" '{id: $id, correction: "green"}')")" 200
expect "it is stored" "$(answer .stored)" true
expect "of nothing" "$(post /feedback '{"id": "chatcmpl-0", "correction": "green"}')" 404
expect "the error" "$(answer '.error | [.type, .param, .code] | tostring')" \
    '["invalid_request_error","id","not_found"]'
expect "blank" "$(post /feedback "{\"id\": \"$id\", \"correction\": \" \"}")" 400

# --- errors look like OpenAI's ---

refused() { # WHAT STATUS PARAM JQ FILTER
    expect "$1" "$(ask "$(question "red" "$4")")" "$2"
    expect "$1: shape" "$(answer '.error | [(.message | type), .type, (keys | length)] | tostring')" \
        '["string","invalid_request_error",4]'
    expect "$1: param" "$(answer .error.param)" "$3"
}
refused "another model" 404 model '.model = "gpt-4"'
expect "its code" "$(answer .error.code)" model_not_found
refused "tools" 400 tools '.tools = []'
refused "two answers" 400 n '.n = 2'
refused "a picture elsewhere" 400 messages '.messages[0].content[1].image_url.url = "https://example.com/a.png"'
refused "no picture" 400 messages '.messages[0].content = "hi"'
refused "a prompt that does not fit" 400 messages '.messages[0].content[0].text = ("red " * 2000)'
expect "no JSON" "$(ask 'hello')" 400
expect "another type" "$(curl -sS -o "$work/answer" -w '%{http_code}' -H 'Content-Type: text/plain' \
    -d '{}' "$base/chat/completions")" 415
expect "its shape" "$(answer .error.type)" invalid_request_error
expect "no such route" "$(post /completions '{}')" 404
expect "its shape" "$(answer .error.type)" invalid_request_error
for host in evil.example 127.0.0.1.evil.example localhost.evil.example; do
    expect "the host $host" "$(post /feedback '{}' -H "Host: $host")" 403
done
expect "its shape" "$(answer .error.type)" invalid_request_error
expect "the host localhost" "$(curl -sS -o "$work/answer" -w '%{http_code}' -H 'Host: localhost:8081' "$base/models")" 200
expect "another method" "$(curl -sS -o /dev/null -w '%{http_code}' "$base/chat/completions")" 405

# --- the loop: what was asked and said comes back as a version, between two answers ---

# ask_on: until $work/over is there; every status, and the version that answered
ask_on() {
    local body
    body=$(question "is it red?" ".max_tokens = 4")
    until [ -f "$work/over" ]; do
        curl -sS -w '\n%{http_code}\n' -H 'Content-Type: application/json' \
            --data-binary "$body" "$base/chat/completions" | tr -d '\n' | sed 's/$/\n/'
    done >"$work/asked"
}
all_uploaded() { [ "$(status a spool_files)" = 0 ] && [ "$(status a uploaded)" -ge 8 ]; }
until_true "uploads" all_uploaded
ask_on &
asking=$!
round=$(distill '{"steps": 4}')
expect "the round" "$(round_wait "$round")" released
models() { curl -sS "$base/models" >"$work/answer"; }
in_force() { models && [ "$(answer '.data[0].id')" = student@1 ]; }
until_true "version 1 answers" in_force
sleep 0.3
touch "$work/over"
wait "$asking"
expect "requests that failed meanwhile" "$(grep -cv '}200$' "$work/asked")" 0
versions=$(sed 's/200$//' "$work/asked" | jq .cdcca.version)
expect "versions, in turn" "$(uniq <<<"$versions" | tr '\n' ' ')" "0 1 "
expect "the models" "$(answer '[.object, (.data | map([.id, .parent]))] | tostring')" \
    '["list",[["student@1","student@0"],["student@0",null]]]'
one() { curl -sS -o "$work/answer" -w '%{http_code}' "$base/models/$1"; }
for name in student@1:student@0 student:student@0 student@0:null; do
    expect "one model" "$(one "${name%:*}")" 200
    expect "its parent" "$(answer .parent)" "${name#*:}"
done
expect "no such model" "$(one student@7)" 404
expect "its code" "$(answer .error.code)" model_not_found
expect "an answer" "$(ask "$(question "what color is it?" '.model = "student@1"')")" 200
expect "by version 1" "$(answer '[.model, .cdcca.version] | tostring')" '["student@1",1]'
expect "version 0" "$(ask "$(question "what color is it?" '.model = "student@0"')")" 404
same_parameters a 1
serve_stop
cloud_stop

# --- a kill: what was acknowledged is there, and goes up when a cloud comes ---

serve_start --model "$work/student" --data "$work/b" --budget 0
ask "$(question "what color is it?")" >/dev/null
expect "no budget, no sample" "$(answer '.cdcca | [.sampled, .threshold] | tostring')" '[false,null]'
expect "a correction" "$(post /feedback "$(answer '{id, correction: "green"}')")" 200
edge_kill
[ "$(find "$work/b/spool" -name '*.upload' | wc -l)" -eq 1 ] || die "the correction is lost"
cloud_start
serve_start --model "$work/student" --data "$work/b" --cloud "$url"
sent() { [ "$(status b spool_files)" = 0 ]; }
until_true "it is uploaded" sent
serve_stop
cloud_stop

# --- a window that does not fill is closed after a while ---

serve_start --model "$work/student" --data "$work/c" --budget 1 --window 100 --window-age 1
ask "$(question "what color is it?")" >/dev/null
closed() { [ "$(status c sampled)" = 1 ]; }
until_true "its answer is in the spool" closed
serve_stop

# --- more than it can take: 503 with a time to come again; and a stop, by which nobody is cut off ---

# flood COUNT: as many slow requests at once; the status and Retry-After of each
flood() {
    local body urls=()
    body=$(jq -n -c '{model: "talker", temperature: 2, max_tokens: 110,
        messages: [{role: "user", content: "is it night"}]}')
    for _ in $(seq "$1"); do urls+=("$base/chat/completions" -o /dev/null); done
    curl -sS -Z --parallel-immediate --parallel-max "$1" -H 'Content-Type: application/json' \
        --data-binary "$body" -w '%{http_code} %header{retry-after}\n' "${urls[@]}" 2>/dev/null || true
}
serve_start --model "$work/talker"
flood 200 >"$work/flood"
expect "answers and refusals alone" "$(grep -cvE '^(200 |503 1)$' "$work/flood")" 0
[ "$(grep -c '^200' "$work/flood")" -ge 64 ] || die "answered: $(sort "$work/flood" | uniq -c)"
[ "$(grep -c '^503' "$work/flood")" -ge 1 ] || die "nothing was refused"
flood 40 >"$work/flood" &
flooding=$!
answered() { grep -q '^200' "$work/flood"; }
until_true "the first of forty is answered" answered
serve_stop
wait "$flooding"
expect "cut off by the stop" "$(grep -cvE '^(200 |503 1|000 )$' "$work/flood")" 0

# --- a plain LLaMA: text alone, with history and stop texts ---

serve_start --model "$work/talker"
talk() { jq -n -c '{model: "talker", max_tokens: 24, messages: [{role: "system", content: "be brief"},
    {role: "user", content: "is it night"}]} | '"${1:-.}"; }
expect "text alone" "$(ask "$(talk)")" 200
text=$(answer .choices[0].message.content)
expect "not sampled" "$(answer '.cdcca | [.sampled, .threshold] | tostring')" '[false,null]'
expect "a stop text" "$(ask "$(talk ".stop = [$(jq -n --arg t "${text:3:2}" '$t')]")")" 200
expect "the text before it" "$(answer .choices[0].message.content)" "${text%%"${text:3:2}"*}"
expect "history" "$(ask "$(talk '.messages += [{role: "assistant", content: "red", refusal: null},
    {role: "user", content: "green"}]')")" 200
expect "a picture" "$(ask "$(question "red" '.model = "talker"')")" 400
expect "a correction" "$(post /feedback '{"id": "chatcmpl-0", "correction": "green"}')" 400
serve_stop

# --- command lines ---

fails() { # WHAT PATTERN OPTION...
    local what=$1 pattern=$2
    shift 2
    "$bin/cdcca-edge" serve "$@" 2>"$work/problem" && die "$what: accepted"
    grep -q -- "$pattern" "$work/problem" || die "$what: said $(cat "$work/problem")"
}
fails "beyond loopback" "--insecure" --model "$work/student" --data "$work/b" --listen 0.0.0.0:0
fails "no state" "--data" --model "$work/student" --listen 127.0.0.1:0
fails "a text model that learns" "text model" --model "$work/talker" --data "$work/b" --listen 127.0.0.1:0
fails "no such model" "no-such" --model "$work/no-such" --listen 127.0.0.1:0
passed
