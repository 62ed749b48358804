#!/usr/bin/env bash
# decode-vs-llamacpp.sh: our decoding and prefill beside llama.cpp's, on models of the same shapes,
# 4 bit on both sides, in turns on the same machine. JSON: per case both rates (tokens a second, best
# and median) and their ratios. Needs jq.
#     --bench FILE   llama.cpp's llama-bench
#     --small FILE   a GGUF of the 110M shape: LLaMA, dim 768, 12 layers, 12 heads, ffn 2048
#     --large FILE   one of the 1.1B shape: dim 2048, 22 layers, 32/4 heads, ffn 5632
#     --threads LIST (1 2)    --rounds N (3)    --model FILE (build/cdcca-model)
# Either GGUF may be left out. RUN in the environment goes in front of both programs ("chrt -r 1" on
# a machine that others use, too).
#
# The GGUFs: random numbers do. With llama.cpp's gguf-py, write an F16 file of architecture llama,
# vocabulary 32000, output.weight of its own (untied), and norms of ones; then
#     llama-quantize --pure f16.gguf q4_0.gguf Q4_0
# so that the output matrix is Q4_0, too, as ours is NF4.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
bench='' small='' large='' threads='1 2' rounds=3 model=build/cdcca-model
while [ $# -gt 0 ]; do
    case $1 in
    --bench) bench=$2 ;;
    --small) small=$2 ;;
    --large) large=$2 ;;
    --threads) threads=$2 ;;
    --rounds) rounds=$2 ;;
    --model) model=$2 ;;
    *) sed -n '2,17s/^# \?//p' "$0" >&2 && exit 2 ;;
    esac
    shift 2
done
[ -x "$bench" ] || { echo "--bench: llama.cpp's llama-bench" >&2 && exit 2; }
[ -n "$small$large" ] || { echo "--small or --large: a GGUF" >&2 && exit 2; }
read -ra run <<<"${RUN:-}"

# ours WHAT SHAPE THREADS -> {"best", "median"}
ours() {
    "${run[@]}" "$model" bench "$1" --shape "$2" --weights nf4 --threads "$3" --repeat 8 --json |
        jq -c '.tokens_per_second'
}

# theirs WHAT GGUF THREADS -> {"best", "median"}
theirs() {
    local tokens=(-p 0 -n 64)
    [ "$1" = decode ] || tokens=(-p 128 -n 0)
    "${run[@]}" "$bench" -m "$2" -t "$3" "${tokens[@]}" -r 8 -o json 2>/dev/null |
        jq -c '.[0].samples_ts | {best: max, median: (sort | .[length / 2 | floor])}'
}

# measure WHAT SHAPE GGUF THREADS: `rounds` turns each, the best of the bests, the median of the
# medians
measure() {
    local i mine='' peer=''
    for ((i = 0; i < rounds; i++)); do
        mine+=$(ours "$1" "$2" "$4")
        peer+=$(theirs "$1" "$3" "$4")
    done
    jq -nc --arg what "$1" --arg shape "$2" --argjson threads "$4" \
        --argjson mine "$(jq -sc . <<<"$mine")" --argjson peer "$(jq -sc . <<<"$peer")" '
        def all: {best: map(.best) | max, median: (map(.median) | sort | .[length / 2 | floor])};
        ($mine | all) as $m | ($peer | all) as $p |
        {what: $what, shape: $shape, threads: $threads, ours: $m, llamacpp: $p,
         ratio: {best: ($m.best / $p.best), median: ($m.median / $p.median)}}'
}

for t in $threads; do
    [ -z "$small" ] || measure decode llama-110m "$small" "$t"
    [ -z "$small" ] || measure prefill llama-110m "$small" "$t"
    [ -z "$large" ] || measure decode llama-1.1b "$large" "$t"
done | jq -s .
