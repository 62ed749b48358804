#!/usr/bin/env bash
# run.sh: every check, one after another; called by ./quickstart test. Goes on after a failure, so
# that one run shows them all; ends with "N passed, N failed" and fails when anything did.
# With --packages the Debian packages, too, which take minutes: debootstrap makes a system for them.
# Each build has a folder of its own under build/ (CMakePresets.json), each step a log in build/logs.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source demo/shell.sh

readonly logs=build/logs
readonly threaded='^test_(accept|http|event_stream|events|metrics|watch|store|writer|rounds|keys|signer|spool|slots|window|cloud|parallel|planner|mapper|auth|enroll|quota|cloud_tokens|cloud_auth|cloud_tls|serve|simulate)$'
readonly sources=(api model server client)
passed=0
failed=0

# check LABEL COMMAND...: one step, counted
check() {
    local label=$1
    shift
    if quietly "$label" "$logs/${label//[^a-z0-9]/-}.log" "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        return 1
    fi
}

format_check() {
    find "${sources[@]}" tests -name '*.[ch]' -print0 | xargs -0 clang-format-14 --dry-run --Werror
}

scripts_check() {
    local script
    for script in quickstart .ci/run demo/*.sh packaging/*.sh tests/*.sh tests/*/*.sh; do
        bash -n "$script" || return 1
    done
}

build_preset() {
    cmake --preset "$1" && cmake --build --preset "$1"
}

# test_preset PRESET CTEST-OPTION...: each of its tests is counted by itself, skipped ones not
test_preset() {
    local preset=$1 log=$logs/test-$1.log ok bad
    shift
    quietly "tests, $preset build" "$log" ctest --preset "$preset" -j "$(nproc)" "$@"
    ok=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed ' "$log")
    bad=$(grep -E '^ *[0-9]+/[0-9]+ Test .*\*\*\*' "$log" | grep -vc Skipped)
    [ $((ok + bad)) -gt 0 ] || bad=1
    passed=$((passed + ok))
    failed=$((failed + bad))
}

# Off: two checks that do not see a loop run at least once, or a callee that only writes.
cppcheck_all() {
    cppcheck --std=c11 --enable=warning,performance,portability --inline-suppr --quiet \
        --error-exitcode=1 --suppress=missingIncludeSystem --suppress=invalidFunctionArg \
        --suppress=ctuuninitvar -j "$(nproc)" -I . "${sources[@]}"
}

tidy_all() {
    find "${sources[@]}" -name '*.c' -print0 |
        xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 -p build/clang --quiet
}

# Where the machine cannot make a clean system, the reason is in the log.
packages_check() {
    local code=0
    tests/package/test_package.sh || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 77 ]
}

main() {
    export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
    check "format" format_check
    check "shell scripts parse" scripts_check
    tests/contract/install.sh || say "integration tests are not held against openapi.yaml"
    check "build gcc" build_preset gcc && test_preset gcc -L demo
    check "build asan" build_preset asan && test_preset asan -LE demo
    check "build tsan" build_preset tsan && test_preset tsan -R "$threaded"
    check "build clang" build_preset clang && check "clang-tidy" tidy_all
    check "cppcheck" cppcheck_all
    [[ " $* " != *" --packages "* ]] || check "debian packages" packages_check
    say ""
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

main "$@"
