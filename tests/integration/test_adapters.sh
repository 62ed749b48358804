#!/usr/bin/env bash
# Adapters out and in, by the command: an edge's state in the layout of PEFT and back gives the same
# trainable set; data folders of edge and cloud are found; what cannot be merged is refused by name.
set -uo pipefail
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=$work/tiny/student

die() {
    echo "failed: $*" >&2
    exit 1
}

# expect WHAT IS SHOULD
expect() {
    [ "$2" = "$3" ] || die "$1: $2, should be $3"
}

report() { # FILE KEY
    jq -r ".$2" "$work/$1"
}

"$bin/make_tiny" "$work/tiny" || die "make_tiny"

# --- the factory state, out and back ---

"$bin/cdcca-model" export --peft --model "$model" --out "$work/out" --json >"$work/exported" ||
    die "export"
expect "PEFT's type" "$(jq -r .peft_type "$work/out/adapter_config.json")" LORA
expect "PEFT's rank" "$(jq -r .r "$work/out/adapter_config.json")" 16
"$bin/cdcca-model" import --peft "$work/out" --model "$model" --out "$work/in" --json \
    >"$work/imported" || die "import"
expect "the hash after the way out and back" "$(report imported sha256)" "$(report exported sha256)"
expect "modules with LoRA" "$(report imported lora_modules)" "$(report exported lora_modules)"

# --- data folders ---

mkdir -p "$work/edge/slots" "$work/cloud/state"
echo '{"active": 3}' >"$work/edge/state.json"
for name in edge/slots/v3 edge/slots/v2 cloud/state/edge-9 cloud/state/edge-10; do
    cp "$work/in/trainable.safetensors" "$work/$name.safetensors"
done
for state in edge cloud in/trainable.safetensors; do
    "$bin/cdcca-model" export --peft --model "$model" --state "$work/$state" --out "$work/again" \
        --json >"$work/exported2" || die "export --state $state"
    expect "the hash of $state" "$(report exported2 sha256)" "$(report exported sha256)"
done
mv "$work/edge/slots/v3.safetensors" "$work/v3"
"$bin/cdcca-model" export --peft --model "$model" --state "$work/edge" --out "$work/again" \
    2>"$work/why" && die "a version that is not there was exported"
grep -q "v3.safetensors: no version there" "$work/why" || die "$(cat "$work/why")"
"$bin/cdcca-model" export --peft --model "$model" --state "$work/edge" --version 2 \
    --out "$work/again" >/dev/null || die "--version 2"

# --- merged: neutral adapters leave the weights; the result loads and has the rest beside it ---

"$bin/cdcca-model" import --merge --peft "$work/out" --model "$model" --out "$work/merged" \
    >"$work/text" || die "import --merge"
grep -q "which PEFT does not read" "$work/text" || die "the report: $(cat "$work/text")"
expect "parameters of the merged model" \
    "$("$bin/cdcca-model" inspect "$work/merged" --json | jq .parameters)" \
    "$("$bin/cdcca-model" inspect "$model" --json | jq .parameters)"
cmp -s "$model/tokenizer.json" "$work/merged/tokenizer.json" || die "tokenizer.json is not there"

# --- usage ---

"$bin/cdcca-model" export --model "$model" --out "$work/x" 2>/dev/null
expect "export without --peft" $? 2
exit 0
