#!/usr/bin/env bash
# cdcca-model score and eval --captions: what they print for small files, and what they say about
# bad ones.
set -euo pipefail
bin=$1
root=$(dirname "$(readlink -f "$0")")/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
    echo "FAILED: $*"
    exit 1
}
score() { "$bin/cdcca-model" score --quiet "$@"; }

# says WHAT JQ-TEST COMMAND...: JSON for which the test holds
says() {
    local what=$1 test=$2
    shift 2
    "$@" >"$work/out" 2>"$work/problem" || die "$what: $(cat "$work/problem")"
    jq -e "$test" "$work/out" >"$work/verdict" || die "$what: $(cat "$work/out")"
}

# fails WHAT PATTERN COMMAND...: no crash, nothing on stdout, one line on stderr that matches
fails() {
    local what=$1 pattern=$2 code=0
    shift 2
    "$@" >"$work/out" 2>"$work/problem" || code=$?
    [ "$code" -gt 0 ] && [ "$code" -lt 126 ] || die "$what: exit status $code"
    grep -q -- "$pattern" "$work/problem" || die "$what: said $(cat "$work/problem")"
    [ ! -s "$work/out" ] || die "$what: wrote to stdout"
}

# captions LINE...: a file of them
captions() { printf '%s\n' "$@" >"$work/captions.jsonl"; }

# --- captions ---

captions '{"candidate": "A red, dog!", "refs": ["a red dog", "the dog"], "image": 3}' '' \
    '{"caption": "a café", "references": ["a café"]}'
says "two captions" '.captions == 2 and .bleu[0] > 0.999 and .rouge_l == 1 and .cider > 0' \
    score --captions "$work/captions.jsonl"
says "each" '(.each | length) == 2 and .each[1].bleu[1] > 0.999' \
    score --captions "$work/captions.jsonl" --each
says "words as they are" '.bleu[0] < 0.9' score --captions "$work/captions.jsonl" --tokenized
captions '{"refs": ["a dog"]}' '{"candidate": null, "refs": [""]}'
says "empty captions" '.bleu == [0, 0, 0, 0] and .cider == 0 and .rouge_l == 0' \
    score --captions "$work/captions.jsonl"

captions '{"candidate": "a", "refs": ["a"]}' '{"candidate": "a", "refs": []}'
fails "no references" "line 2.*without references" score --captions "$work/captions.jsonl"
captions '{"candidate": "a"}'
fails "no refs" 'line 1.*"references"' score --captions "$work/captions.jsonl"
captions '{"candidate": "a", "refs": [3]}'
fails "a number" 'line 1.*"refs"' score --captions "$work/captions.jsonl"
captions 'a dog'
fails "no JSON" "line 1" score --captions "$work/captions.jsonl"
captions "{\"candidate\": \"$(yes a | head -n 1025 | tr '\n' ' ')\", \"refs\": [\"a\"]}"
fails "too many words" "line 1.*1024 words" score --captions "$work/captions.jsonl"
: >"$work/captions.jsonl"
fails "an empty file" "no captions" score --captions "$work/captions.jsonl"
fails "no file" "missing.jsonl" score --captions "$work/missing.jsonl"
fails "a folder" "$work" score --captions "$work"

# --- answers ---

cat >"$work/questions.json" <<'JSON'
[{"question_id": "q1", "choices": ["cab", "bus"], "correct_choice_idx": 1,
  "direct_answers": ["bus", "bus", "bus", "The Bus"], "difficult_direct_answer": false},
 {"question_id": "q2", "choices": ["red", "blue"], "correct_choice_idx": 0,
  "direct_answers": ["red", "pink"]}]
JSON
answers() { printf '%s\n' "$1" >"$work/answers.json"; }
answered() { score --aokvqa "$work/questions.json" --predictions "$work/answers.json" "$@"; }

answers '{"q1": {"multiple_choice": "bus", "direct_answer": "The bus."}, "q2": {"direct_answer": "red"}}'
says "answers" '.multiple_choice == {percent: 50, questions: 2, missing: 1, none_of_the_choices: 0}
    and (.direct_answer.percent * 3 - 50 | fabs) < 1e-6' answered
says "answers as VQA-v2 compares them" '(.direct_answer.percent * 3 - 200 | fabs) < 1e-6' \
    answered --normalize
answers '{"q2": {"direct_answer": "red"}}'
says "one kind" 'has("direct_answer") and (has("multiple_choice") | not)' answered
answers '{"other": {"direct_answer": "red"}}'
fails "other questions" "no question has a prediction" answered
answers '[]'
fails "a list" "predictions are an object" answered
fails "no predictions" "wants --predictions" score --aokvqa "$work/questions.json"
fails "nothing" "either --captions" score
fails "both" "either --captions" answered --captions "$work/captions.jsonl"

# --- the built-in world ---

eval_captions() {
    "$bin/cdcca-model" eval --model "$root/models/student" --captions --count 20 --json "$@"
}
says "captions of the world" '.captions.count == 20 and .captions.bleu[3] > 0.1 and
    .captions.cider > 0.1 and .captions_new_concepts.count < 20' eval_captions --data world:target
fails "captions of a folder" "world:NAME" eval_captions --data "$work"
fails "captions of colors" "world:NAME" eval_captions --data world:target/color
fails "captions of nowhere" "none of source" eval_captions --data world:mars
