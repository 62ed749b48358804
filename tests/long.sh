#!/usr/bin/env bash
# long.sh [NAME...]: what CI shows in short, at length, in the optimised build of build/gcc; all of it
# takes about an hour and a half. ./quickstart test --long does the same with what it needs installed.
# Each prints what it counted; the rest is in build/logs. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source demo/shell.sh

readonly built=build/gcc logs=build/logs
readonly names=(stop kill-cloud kill-edge restart flood fleet slow poison memory fuzz)
passed=0
failed=0

# fuzz_all: each target for five minutes, one after the other
fuzz_all() {
    local target
    for target in tests/fuzz/corpus/*/; do
        tests/fuzz/run.sh "$(basename "$target")" 300 || return 1
    done
}

memory_all() {
    "$built/tests/fault/alloc_parsers" tests/fuzz/corpus 0 &&
        "$built/tests/fault/alloc_training" 0 &&
        tests/fault/alloc_service.sh "$built" 0
}

# run NAME: the long form of that name
run() {
    case $1 in
    stop) tests/fault/stop.sh "$built" 100 ;;
    kill-cloud) tests/fault/kill_cloud.sh "$built" 200 ;;
    kill-edge) tests/fault/kill_edge.sh "$built" --count 200 ;;
    restart) tests/fault/restart_cloud.sh "$built" 100000 16000 ;;
    flood) tests/net/test_net_flood.sh "$built" 600 ;;
    fleet) tests/net/test_net_fleet.sh "$built" 1000 600 ;;
    slow) tests/net/test_net_slow.sh "$built" 1000 ;;
    poison) tests/integration/test_poison.sh "$built" ;;
    memory) memory_all ;;
    fuzz) fuzz_all ;;
    esac
}

# long NAME: one of them, counted; what it found is its last lines
long() {
    local log=$logs/long-$1.log
    if quietly "$1" "$log" run "$1"; then
        passed=$((passed + 1))
        tail -n 3 "$log" | sed 's/^/    /' >&2
    else
        failed=$((failed + 1))
    fi
}

main() {
    local name
    for name in "$@"; do
        [[ " ${names[*]} " == *" $name "* ]] || die "no '$name'; there are: ${names[*]}"
    done
    quietly "build gcc" "$logs/long-build.log" eval 'cmake --preset gcc && cmake --build --preset gcc' || exit 1
    [ $# -gt 0 ] || set -- "${names[@]}"
    for name in "$@"; do long "$name"; done
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

main "$@"
