#!/usr/bin/env bash
# cdcca-model generate as a user runs it: the built-in student about a picture of the built-in world,
# stdin, JSON, seeds, stop strings, and what it refuses.
set -uo pipefail
bin=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
student=$root/models/student
image=$work/world/000000.png

die() {
    echo "failed: $*" >&2
    exit 1
}

# expect WHAT IS SHOULD
expect() {
    [ "$2" = "$3" ] || die "$1: $2, should be $3"
}

# refused STATUS WORDS ARGUMENT ..
refused() {
    local status=$1 words=$2 out
    shift 2
    out=$("$bin/cdcca-model" generate "$@" 2>&1)
    expect "exit status of $*" $? "$status"
    [[ $out == *"$words"* ]] || die "$*: $out, should say $words"
}

generate() {
    "$bin/cdcca-model" generate --model "$student" --image "$image" "$@" 2>"$work/times"
}

"$bin/cdcca-model" generate-world world:source --count 1 --out "$work/world" >"$work/said" ||
    die "generate-world"
question=$(jq -r .question "$work/world/questions.jsonl" | head -1)

text=$(generate --prompt "$question") || die "generate"
[ -n "$text" ] || die "no text"
grep -q "tokens, ended by" "$work/times" || die "no times on stderr"
expect "the text from stdin" "$(printf %s "$question" | generate --prompt -)" "$text"

generate --prompt "$question" --json >"$work/json" || die "generate --json"
expect "JSON's text" "$(jq -r .text "$work/json" | sed 's/^ *//')" "$text"
expect "tokens taken" "$(jq '.tokens | length' "$work/json")" "$(jq '.ids | length + 1' "$work/json")"
expect "the end" "$(jq -r .ended_by "$work/json")" token
expect "the mean log-probability" "$(jq '([.tokens[].log_probability] | add / length)
    - .log_probability | fabs < 1e-5' "$work/json")" true
expect "the mean entropy" "$(jq '([.tokens[].entropy] | add / length)
    - .entropy | fabs < 1e-5' "$work/json")" true

hot=(--prompt "$question" --temperature 3 --max-new 12 --json)
generate "${hot[@]}" --seed 1 >"$work/one"
generate "${hot[@]}" --seed 1 >"$work/again"
generate "${hot[@]}" --seed 2 >"$work/two"
cmp -s "$work/one" "$work/again" || die "a seed gives the same twice"
cmp -s "$work/one" "$work/two" && die "another seed gives something else"
expect "a tiny share" "$(generate --prompt "$question" --temperature 3 --top-p 1e-9)" "$text"
expect "beams end" "$(generate --prompt "$question" --beams 3 --json | jq -r .ended_by)" token
expect "a stop" "$(generate --prompt "$question" --stop "${text:1:1}" --json | jq -r .ended_by)" string

refused 2 "--model DIR is missing" --prompt a
refused 2 "one of --prompt TEXT and --ids" --model "$student" --image "$image"
refused 2 "--image FILE is missing" --model "$student" --prompt a
refused 2 "beams do not sample" --model "$student" --image "$image" --prompt a --beams 2 --temperature 1
refused 2 "wanted ids such as" --model "$student" --image "$image" --ids 1,x
refused 65 "the model has 0.." --model "$student" --image "$image" --ids 1,99999
refused 66 "nowhere" --model "$work/nowhere" --prompt a
refused 66 "no.png" --model "$student" --image "$work/no.png" --prompt a
refused 2 "max_new is 500" --model "$student" --image "$image" --prompt a --max-new 500

# --- a plain LLaMA without tokenizer ---

story=$(dirname "${CDCCA_SHARED_DATA:-none}/x")/stories260k-llama
if [ ! -d "$story/hf" ]; then
    echo "no reference data at ${CDCCA_SHARED_DATA:-(not set)}: the story is left out"
    exit 0
fi
"$bin/cdcca-model" generate --model "$story/hf" --ids 1 --max-new 40 --json >"$work/story" \
    2>"$work/times" || die "the story"
expect "the story's ids" "$(jq -c .ids "$work/story")" "$(jq -c '.prompts[0].all_ids[1:41]' "$story/expected.json")"
refused 65 "give the prompt as --ids" --model "$story/hf" --prompt "Once"
refused 2 "without --image" --model "$story/hf" --ids 1 --image "$image"
