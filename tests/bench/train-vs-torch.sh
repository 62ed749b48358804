#!/usr/bin/env bash
# Training steps beside PyTorch, at the sizes of `cdcca-model bench train`.
# usage: tests/bench/train-vs-torch.sh [--rounds N] [--threads N] [--torch FILE]
# FILE is torch_step.py, which prints "samples/s med X"; PYTHON (/usr/bin/python3) runs it. Both
# sides run N times in turn with the same OpenBLAS kernel; prints JSON, medians and ratios.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
rounds=5 threads=2 torch=../shared/peers/torch_step.py
build=${CDCCA_BUILD:-build}
while [ $# -gt 1 ]; do
    case $1 in
    --rounds) rounds=$2 ;;
    --threads) threads=$2 ;;
    --torch) torch=$2 ;;
    *) break ;;
    esac
    shift 2
done
[ $# -eq 0 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
[ -f "$torch" ] || { echo "$torch is not there: --torch FILE" >&2; exit 1; }

kernel=$("$build/cdcca-model" --version | sed -n 's/.*BLAS kernel: \([A-Za-z0-9]*\).*/\1/p')
export OPENBLAS_CORETYPE=${kernel^^} OMP_NUM_THREADS=$threads
export LD_LIBRARY_PATH=/usr/lib/$(uname -m)-linux-gnu/openblas-openmp

torch_rate() { # full|lora
    "${PYTHON:-/usr/bin/python3}" "$torch" "$1" "$threads" 8 | sed -n 's/.*samples\/s med \([0-9.]*\).*/\1/p'
}

own_rate() { # full|lora
    local flags=(--shape llama-5m --threads "$threads" --json)
    [ "$1" = full ] || flags+=(--lora)
    env -u LD_LIBRARY_PATH "$build/cdcca-model" bench train "${flags[@]}" |
        jq .samples_per_second.median
}

for ((i = 0; i < rounds; i++)); do
    for mode in full lora; do
        own=$(own_rate "$mode")
        peer=$(torch_rate "$mode")
        printf '{"mode": "%s", "own": %s, "torch": %s}\n' "$mode" "$own" "$peer"
    done
done | jq -s --arg kernel "$OPENBLAS_CORETYPE" --argjson threads "$threads" '
    def median: sort | .[length / 2 | floor];
    {kernel: $kernel, threads: $threads} + (group_by(.mode) | map({key: .[0].mode, value: {
        own_samples_per_second: map(.own) | median,
        torch_samples_per_second: map(.torch) | median,
        ratio: map(.own / .torch) | median,
        ratios: map(.own / .torch | . * 100 | round / 100)}}) | from_entries)'
