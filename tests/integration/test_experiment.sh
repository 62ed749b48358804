#!/usr/bin/env bash
# test_experiment.sh BUILD: the tables on a tiny scale, end to end with the built-in models. Holds
# that a table has its rows and files, that a killed run goes on where it was, that nothing is
# computed twice, that a damaged result is named, and that wrong flags say what would be right.
set -euo pipefail
model=$1/cdcca-model
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$(dirname "$(readlink -f "$0")")/../.."

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

tiny=(--teacher models/teacher --student models/student --rounds 1 --window 20 --count 12
    --steps 2 --seeds 2 --out "$dir/out")

# ---- killed in the middle, and gone on with ----
"$model" experiment --table 1 "${tiny[@]}" --validation 0 >/dev/null 2>&1 &
job=$!
for _ in $(seq 600); do
    [ "$(find "$dir/out/trials" -name '*.json' 2>/dev/null | wc -l)" -ge 3 ] && break
    sleep 0.1
done
kill -9 $job
wait $job 2>/dev/null || true
before=$(find "$dir/out/trials" -name '*.json' -printf '%p %T@\n' | sort)
[ -n "$before" ] || fail "no trial was kept"
"$model" experiment --table 1 "${tiny[@]}" --validation 0 >"$dir/table1" 2>"$dir/log" ||
    fail "table 1: $(cat "$dir/log")"
after=$(find "$dir/out/trials" -name '*.json' -printf '%p %T@\n' | sort)
[ "$(comm -23 <(echo "$before") <(echo "$after") | wc -l)" -eq 0 ] || fail "a kept trial was redone"

# ---- the table ----
for row in source-only TENT-continual CoTTA 'pseudo labels' PKD CWD 'head refit' CD-CCA teacher; do
    grep -q "| \**$row" "$dir/out/table1.md" || fail "no row $row"
done
jq -e '.rows | length == 10 and all(.measures.target_mc.last.mean | . >= 0 and . <= 100)' \
    "$dir/out/table1.json" >/dev/null || fail "table1.json"
jq -e '.rows[8] | .label == "CD-CCA" and .settings.cross == 8 and
    (.measures.target_da.seeds | length == 2) and .measures.uplink_each.last.mean > 500' \
    "$dir/out/table1.json" >/dev/null || fail "the row of CD-CCA"
grep -q '</svg>' "$dir/out/table1.svg" || fail "table1.svg"
grep -q 'gap recovered' "$dir/out/README.md" || fail "the index"

# ---- shared trials: table 6 asks the same ones ----
count=$(find "$dir/out/trials" -name '*.json' | wc -l)
"$model" experiment --table 6 "${tiny[@]}" --validation 0 --json 2>/dev/null |
    jq -e '.tables == [6]' >/dev/null || fail "table 6"
[ "$(find "$dir/out/trials" -name '*.json' | wc -l)" -eq "$count" ] || fail "table 6 ran trials again"

# ---- tuning, captions ----
"$model" experiment --table 2 "${tiny[@]}" --seeds 1 --validation 1 >/dev/null 2>"$dir/log" ||
    fail "table 2: $(cat "$dir/log")"
jq -e '[.grid[] | select(.chosen)] | length == 6' "$dir/out/validation-captions/tuning.json" \
    >/dev/null || fail "one setting of each method is chosen"
jq -e '.rows[9].measures | .new_cider.last.mean > 50 and .near_bleu.last.mean > 20' \
    "$dir/out/table2.json" >/dev/null || fail "the teacher's captions"

# ---- bad input ----
damaged=$(find "$dir/out/trials" -name 'tent-*.json' | head -1)
echo '{' >"$damaged"
"$model" experiment --table 1 "${tiny[@]}" --validation 0 >/dev/null 2>"$dir/log" &&
    fail "a damaged result was taken"
grep -q "$(basename "$damaged")" "$dir/log" || fail "the damaged file is not named"
"$model" experiment --table 9 2>"$dir/log" && fail "table 9"
grep -q 'wanted are 1, 2' "$dir/log" || fail "what would be right"
"$model" experiment --table 1 --student "$dir/nothing" --out "$dir/o" 2>"$dir/log" && fail "no student"
grep -q 'nothing' "$dir/log" || fail "the missing model is not named"
echo ok
