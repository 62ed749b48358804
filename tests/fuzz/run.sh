#!/usr/bin/env bash
# run.sh TARGET SECONDS [LIBFUZZER OPTION...]: builds one fuzz target with clang's libFuzzer, runs it
# on its corpus at low priority, and says how many inputs it tried. A finding is left in build/fuzz
# and fails the run; new inputs stay in build/fuzz/corpus, not in the tree.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
if [ $# -lt 2 ] || [ ! -d "tests/fuzz/corpus/$1" ]; then
    echo "usage: run.sh TARGET SECONDS, TARGET one of: $(cd tests/fuzz/corpus && echo *)" >&2
    exit 2
fi
target=$1 seconds=$2
shift 2
mkdir -p build/fuzz/corpus/"$target"
[ -f build/fuzz/build.ninja ] || CC=clang cmake -G Ninja -B build/fuzz -DCDCCA_FUZZ=ON >build/fuzz/configure.log
cmake --build build/fuzz -j 1 --target "fuzz_$target.fuzzer" >build/fuzz/build.log ||
    { tail -n 20 build/fuzz/build.log >&2 && exit 1; }
code=0
nice -n 15 "build/fuzz/tests/fuzz/fuzz_$target.fuzzer" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build/fuzz/$target-" "$@" \
    "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" >"build/fuzz/$target.log" 2>&1 || code=$?
sed -n 's/^stat::\(number_of_executed_units\|average_exec_per_sec\|new_units_added\): *\([0-9]*\)/\1 \2/p' \
    "build/fuzz/$target.log" | sed "s/^/$target: /"
[ "$code" -eq 0 ] || { tail -n 40 "build/fuzz/$target.log" >&2 && exit "$code"; }
