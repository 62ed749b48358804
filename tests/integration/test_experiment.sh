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
jq -e '.rows[8] | .label == "CD-CCA" and .settings.cross == 16 and
    (.measures.target_da.seeds | length == 2) and .measures.uplink_each.last.mean > 400' \
    "$dir/out/table1.json" >/dev/null || fail "the row of CD-CCA"
grep -q '</svg>' "$dir/out/table1.svg" || fail "table1.svg"
grep -q 'gap recovered' "$dir/out/README.md" || fail "the index"

# ---- shared trials: table 6 asks the same ones ----
count=$(find "$dir/out/trials" -name '*.json' | wc -l)
"$model" experiment --table 6 "${tiny[@]}" --validation 0 --json 2>/dev/null |
    jq -e '.tables == [6]' >/dev/null || fail "table 6"
[ "$(find "$dir/out/trials" -name '*.json' | wc -l)" -eq "$count" ] || fail "table 6 ran trials again"

# ---- bytes: forms of an upload and of an update, in order of size, each trial once ----
bytes=(--teacher models/teacher --student models/student --rounds 1 --window 40 --count 12 --steps 2
    --seeds 1 --validation 0 --out "$dir/bytes")
"$model" experiment --table 5 "${bytes[@]}" >/dev/null 2>"$dir/log" || fail "table 5: $(cat "$dir/log")"
jq -e '(.rows | map({key: .label, value: .measures.sent.last.mean}) | from_entries) as $b |
    (.rows | length) == 28 and
    $b["up: raw pixels"] > $b["up: PNG"] and $b["up: PNG"] > $b["up: JPEG, quality 85"] and
    $b["up: JPEG, quality 85"] > $b["up: JPEG, quality 50"] and
    $b["up: all 65 tokens, F16"] > $b["up: all 65 tokens, 8 bit"] and
    $b["up: 10 tokens, 8 bit"] > $b["up: 10 tokens, 4 bit = CD-CCA"] and
    $b["up: 32 tokens, 4 bit"] > $b["up: 10 tokens, 4 bit = CD-CCA"] and
    $b["down: whole model, BF16"] > $b["down: trainable set, F32"] and
    $b["down: trainable set, F32"] > $b["down: lossless, zstd"] and
    $b["down: trainable set, F16"] > $b["down: int8"] and $b["down: int8"] > $b["down: NF4"] and
    $b["down: NF4"] > $b["down: 2 bit"] and
    $b["down: 2 bit"] > $b["down: sign, scales of blocks"] and
    $b["down: sign, scales of blocks"] > $b["down: sign, 90% of the blocks = CD-CCA"]' \
    "$dir/bytes/table5.json" >/dev/null || fail "the sizes of table 5"
jq -e '[.rows[] | select(.label | test("90%|42%|within")) | .measures.sent_bits.last.mean] |
    .[0] <= 1 and .[1] <= 1 and .[2] <= 0.5 and .[3] <= 0.5 and .[4] <= 0.25' \
    "$dir/bytes/table5.json" >/dev/null || fail "bits a parameter: $(jq -c '[.rows[] | [.label, .measures.sent_bits.last.mean]]' "$dir/bytes/table5.json")"
jq -e '.rows[0].measures | .seconds_256kbit.last.mean / .seconds_10mbit.last.mean |
    . > 39.06 and . < 39.07' "$dir/bytes/table5.json" >/dev/null || fail "times at two rates"
[ "$(find "$dir/bytes/trials" -name '*.json' | wc -l)" -eq 24 ] || fail "lossless rows share a trial"
grep -q '</svg>' "$dir/bytes/table5-up.svg" || fail "table5-up.svg"
grep -q '</svg>' "$dir/bytes/table5-down.svg" || fail "table5-down.svg"

# ---- tuning, captions ----
"$model" experiment --table 2 "${tiny[@]}" --seeds 1 --validation 1 >/dev/null 2>"$dir/log" ||
    fail "table 2: $(cat "$dir/log")"
jq -e '[.grid[] | select(.chosen)] | length == 6' "$dir/out/validation/tuning.json" \
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
