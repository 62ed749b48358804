#!/usr/bin/env bash
# cdcca-model tokenize: ids, tokens, types and texts on stdout, problems on stderr.
set -euo pipefail
bin=$1
cases=$(dirname "$(readlink -f "$0")")/../data/tokenizer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# gives WHAT EXPECTED ARGUMENT...
gives() {
    local what=$1 expected=$2 got
    shift 2
    got=$("$bin/cdcca-model" tokenize "$@" </dev/null 2>&1) || true
    [ "$got" = "$expected" ] && return 0
    printf 'FAILED: %s: expected %s, got %s\n' "$what" "$expected" "$got"
    exit 1
}

# fails WHAT EXIT-CODE PATTERN ARGUMENT...: nothing on stdout
fails() {
    local what=$1 code=$2 pattern=$3 got=0
    shift 3
    "$bin/cdcca-model" tokenize "$@" >"$work/out" 2>"$work/problem" </dev/null || got=$?
    [ "$got" -eq "$code" ] && grep -q -- "$pattern" "$work/problem" && [ ! -s "$work/out" ] &&
        return 0
    printf 'FAILED: %s: exit status %s: %s\n' "$what" "$got" "$(cat "$work/problem")"
    exit 1
}

gives "ids" "8" --model "$cases/model_bpe" ab
gives "BOS" "1 8" --model "$cases/model_bpe" --wrap ab
gives "special tokens are text" "3 0" --model "$cases/model_bpe" "<s>"
gives "or are not" "1" --model "$cases/model_bpe" --special "<s>"
gives "text" "ab" --model "$cases/model_bpe" --decode "[1, 8]"
gives "JSON" '{"ids":[2,8],"tokens":["[CLS]","hello"]}' --model "$cases/vocab_bert" --json --special \
    "[CLS] HELLO"
gives "a pair" '{"ids":[2,8,3,14,3],"tokens":["[CLS]","hello","[SEP]","a","[SEP]"],"types":[0,0,0,1,1]}' \
    --model "$cases/vocab_bert" --json --pair a hello
gives "text in JSON" '{"text":"hello"}' --model "$cases/vocab_bert" --json --decode "2 8 3"
gives "nothing" "" --model "$cases/vocab_bert" -
fails "no ids" 2 "is no id" --model "$cases/vocab_bert" --decode "1 x"
fails "a huge id" 2 "is no id" --model "$cases/vocab_bert" --decode 99999999999999999999
fails "no tokenizer" 66 "no tokenizer" --model "$cases/nothing" a
fails "a bad file" 65 "there twice" --model "$cases/vocab_duplicate" a
fails "no UTF-8" 65 "UTF-8" --model "$cases/vocab_bert" $'\xff'
fails "no template" 65 "do not say" --model "$cases/json_gpt2" --pair a b

# standard input, a megabyte of it
head -c 1000000 /dev/zero | tr '\0' a >"$work/text"
count=$("$bin/cdcca-model" tokenize --model "$cases/model_bpe" - <"$work/text" | wc -w)
[ "$count" -eq 1000001 ] || { echo "FAILED: a megabyte gives $count ids" && exit 1; }
