#!/usr/bin/env bash
# cdcca-model synth and quantize as a user runs them: a checkpoint of several shards is quantized in
# less memory than one of its shards, killed runs leave no model behind, and the result is one that
# every command reads.
set -uo pipefail
bin=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
    echo "failed: $*" >&2
    exit 1
}

# expect WHAT IS SHOULD
expect() {
    [ "$2" = "$3" ] || die "$1: $2, should be $3"
}

model() {
    "$bin/cdcca-model" "$@" >"$work/out" 2>"$work/err"
}

# --- memory: BF16 in shards of 64 MiB, 256 MiB of them ---

model synth --shape llama-110m --weights bf16 --shard-mib 64 --out "$work/bf16" || die "synth"
expect "shards" "$(find "$work/bf16" -name 'model-*.safetensors' | wc -l)" 5
model quantize "$work/bf16" "$work/nf4" --to nf4 --double-quant --shard-mib 32 --json ||
    die "quantize: $(cat "$work/err")"
if [ -z "${ASAN_OPTIONS:-}" ] && ! nm "$bin/cdcca-model" 2>/dev/null | grep -c __asan_init >/dev/null; then
    peak=$(jq .peak_kib "$work/out")
    [ "$peak" -lt $((64 << 10)) ] || die "peak memory of $peak KiB for shards of 64 MiB"
fi
expect "matrices" "$(jq .matrices "$work/out")" 84
expect "quantization" "$(jq -c '[.quantization_config.quant_method, .quantization_config.load_in_4bit,
    .quantization_config.bnb_4bit_use_double_quant]' "$work/nf4/config.json")" \
    '["bitsandbytes",true,true]'
expect "shards of the index" \
    "$(jq -r '.weight_map[]' "$work/nf4/model.safetensors.index.json" | sort -u | wc -l)" \
    "$(find "$work/nf4" -name 'model-*.safetensors' | wc -l)"
expect "tokenizers" "$(cmp "$work/bf16/tokenizer.json" "$work/nf4/tokenizer.json" && echo same)" same
model inspect "$work/nf4" || die "inspect: $(cat "$work/err")"
model generate --model "$work/nf4" --prompt "Question" --max-new 3 || die "generate"

# --- a run that is killed leaves no model; the next one is whole ---

for delay in 0.05 0.1 0.2; do
    "$bin/cdcca-model" quantize "$work/bf16" "$work/killed" --to q8 >/dev/null 2>&1 &
    sleep "$delay"
    kill -9 $! 2>/dev/null
    wait $! 2>/dev/null
    if [ -e "$work/killed" ]; then
        model inspect "$work/killed" || die "a model that is there and does not load"
        rm -rf "$work/killed"
    fi
done
model quantize "$work/bf16" "$work/killed" --to q8 || die "quantize after kills: $(cat "$work/err")"
[ ! -e "$work/killed.partial" ] || die "killed.partial is still there"
model inspect "$work/killed" || die "inspect"

# --- what is refused ---

model quantize "$work/bf16" "$work/nf4" --to nf4 && die "a directory that is not empty"
grep -q "not empty" "$work/err" || die "$(cat "$work/err")"
model quantize "$work/nf4" "$work/again" --to q8 && die "a quantized source"
grep -q "quantized already" "$work/err" || die "$(cat "$work/err")"
model quantize "$work/bf16" "$work/other" --to fp4 && die "an unknown type"
grep -q "nf4, q8 or bf16" "$work/err" || die "$(cat "$work/err")"
[ ! -e "$work/again" ] && [ ! -e "$work/other" ] || die "a refusal left a directory"

# DST.partial is emptied only where it is ours
cp -r "$root/models/student" "$work/mine.partial"
model quantize "$work/mine.partial" "$work/mine" --to nf4 && die "a folder of somebody's"
grep -q "not of an earlier attempt" "$work/err" || die "$(cat "$work/err")"
[ -e "$work/mine.partial/model.safetensors" ] || die "somebody's folder was emptied"

# a link cannot be replaced: said before the work
mkdir "$work/real" && ln -s real "$work/link"
model quantize "$root/models/student" "$work/link" --to nf4 && die "a link"
[ ! -e "$work/link.partial" ] || die "a refusal left link.partial"

# --- the built-in student is as good ---

model quantize "$root/models/student" "$work/student" --to nf4 || die "the student"
right() {
    model eval --model "$1" --count 200 --json || die "eval $1: $(cat "$work/err")"
    jq -c '[.. | numbers] | length > 0' "$work/out"
}
expect "eval" "$(right "$work/student")" true
