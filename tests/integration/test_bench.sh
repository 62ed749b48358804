#!/usr/bin/env bash
# test_bench.sh BUILD: the benches run at the smallest shape and print what they promise; no time is
# judged. Wrong words are usage errors that name the right ones.
set -euo pipefail
command -v jq >/dev/null || { echo "skipped: no jq" && exit 77; }
tool=$1/cdcca-model
fail() { echo "FAILED: $*" && exit 1; }

# holds FILTER JSON: jq's filter is true
holds() { jq -e "$1" <<<"$2" >/dev/null || fail "$1 does not hold of $2"; }

declare -A bytes
for weights in f32 bf16 q8 nf4; do
    out=$("$tool" bench decode --shape llama-5m --weights $weights --tokens 4 --repeat 2 --threads 2 --json)
    holds ".bench == \"decode\" and .weights == \"$weights\" and .threads == 2" "$out"
    holds '.tokens_per_second.best >= .tokens_per_second.median and .tokens_per_second.median > 0' "$out"
    holds '.bytes_per_token > 0 and .gflops > 0 and .limit_read_gb_per_s > 0' "$out"
    bytes[$weights]=$(jq .bytes_per_token <<<"$out")
done
# a matrix's bytes: 4, 2, 1 and a scale a row, half and a scale a block
holds '.f32 == 2 * .bf16 and .bf16 > .q8 and .q8 > 1.7 * .nf4' \
    "{\"f32\": ${bytes[f32]}, \"bf16\": ${bytes[bf16]}, \"q8\": ${bytes[q8]}, \"nf4\": ${bytes[nf4]}}"

out=$("$tool" bench prefill --shape llama-5m --prompt 16 --repeat 1 --json)
holds '.bench == "prefill" and .tokens == 16 and .tokens_per_second.best > 0' "$out"
out=$("$tool" bench limits --read-mib 8 --threads 1 --json)
holds '.read_gb_per_s > 0 and .product_gflops > 0 and .threads == 1' "$out"
"$tool" bench decode --shape llama-5m --tokens 2 --repeat 1 | grep -q "tok/s best" || fail "no line for people"
"$tool" bench --help | grep -q accuracy || fail "--help does not list the benches"

# refused ARGUMENT...: a usage error whose text holds $word
refused() {
    local text code=0
    text=$("$tool" bench "$@" 2>&1) || code=$?
    [ "$code" -eq "$usage" ] && grep -qF -- "$word" <<<"$text" || fail "bench $*: exit $code, $text"
}
usage=0
"$tool" bench limits --threads nine >/dev/null 2>&1 || usage=$?
[ "$usage" -ne 0 ] || fail "nine threads"
word=llama-110m refused decode --shape llama-2b
word=nf4 refused decode --shape llama-5m --weights q3
word="a llama shape" refused prefill --shape instructblip-vicuna-7b
word="--model" refused accuracy
word="lists them" refused sprint
echo "ok"
