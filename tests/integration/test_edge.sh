#!/usr/bin/env bash
# The edge by itself: ask, status, what it says about bad input, a cloud that is away, and a stop.
source "$(dirname "$0")/edge.sh"
url=http://127.0.0.1:9 # nobody listens there

# fails WHAT STATUS PATTERN COMMAND...: exit status, and one line on stderr that matches
fails() {
    local what=$1 should=$2 pattern=$3 code=0
    shift 3
    "$@" >"$work/out" 2>"$work/problem" || code=$?
    [ "$code" -ne 0 ] || die "$what: accepted"
    [ "$should" = any ] || [ "$code" -eq "$should" ] || die "$what: exit status $code"
    [ "$code" -lt 126 ] || die "$what: crashed, $code: $(cat "$work/problem")"
    grep -q -- "$pattern" "$work/problem" || die "$what: said $(cat "$work/problem")"
    [ ! -s "$work/out" ] || die "$what: wrote to stdout"
}
ask() { "$bin/cdcca-edge" ask --model "$work/student" --image "$@"; }
run() { "$bin/cdcca-edge" run "$@"; }

# --- ask ---

"$bin/cdcca-model" generate-world world:source --count 3 --out "$work/world" >"$work/problem" 2>&1 ||
    die "generate-world: $(cat "$work/problem")"
png=$(find "$work/world" -name '*.png' | sort | head -n 1)
base64 -d >"$work/photo.jpg" <<'JPEG'
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRT
c4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj
Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAQABADASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xA
AUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAABAb/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oA
DAMBAAIRAxEAPwCOACqH/9k=
JPEG
for image in "$png" "$work/photo.jpg"; do
    ask "$image" "what color is the circle?" --json --keep 5 >"$work/answer" || die "ask $image"
    expect "version" "$(answer .version)" 0
    expect "kept" "$(answer '.tokens.positions | length')" 5
    expect "an answer, entropy, bytes" \
        "$(answer '[(.answer | type), (.entropy >= 0), (.tokens.upload_bytes > 0)] | tostring')" \
        '["string",true,true]'
done
ask "$png" "is it?" --threshold 0 >"$work/answer"
grep -q "^sampled *yes" "$work/answer" || die "ask as text"

fails "no question" any "QUESTION" ask "$png"
fails "an empty question" any "1 to" ask "$png" ""
fails "no image" any "missing" "$bin/cdcca-edge" ask --model "$work/student" "what?"
fails "an image that is not there" any "nowhere.png" ask "$work/nowhere.png" "what?"
fails "a folder as the image" any "$work" ask "$work" "what?"
printf 'just text' >"$work/text.png"
fails "an image that is none" any "PNG" ask "$work/text.png" "what?"
head -c 200 "$png" >"$work/half.png"
fails "half an image" any "half.png\|PNG" ask "$work/half.png" "what?"
fails "no such model" any "nomodel" "$bin/cdcca-edge" ask --model "$work/nomodel" --image "$png" "what?"
cp -r "$work/student" "$work/broken"
head -c 5000 "$work/student/model.safetensors" >"$work/broken/model.safetensors"
fails "a damaged model" any "model.safetensors" \
    "$bin/cdcca-edge" ask --model "$work/broken" --image "$png" "what?"

# --- command lines ---

fails "no command" any "usage" "$bin/cdcca-edge"
fails "an unknown command" any "no command" "$bin/cdcca-edge" fly
fails "no status yet" any "status.json" "$bin/cdcca-edge" status --data "$work/none"
base=(--cloud "$url" --model "$work/student" --source world:source --data "$work/a")
fails "no cloud" any "--cloud" run --source world:source --data "$work/a"
fails "a cloud that is no URL" any "http://" run "${base[@]}" --cloud localhost
fails "no source" any "--source" run --cloud "$url" --data "$work/a"
fails "an unknown world" any "nowhere" run "${base[@]}" --source world:nowhere
fails "an unknown flag" any "--fly" run "${base[@]}" --fly 1
fails "a budget over 1" any "budget" run "${base[@]}" --budget 2
fails "bits of 5" any "4 or 8" run "${base[@]}" --bits 5
fails "a device id with blanks" any "device" run "${base[@]}" --device "my camera"

# --- a cloud that is away: answers go on, uploads wait, it is said once ---

edge_start a --source world:source --count 40 --window 40 --budget 0.25 --json
until_true "the window is closed" status_is a seen 40
until_true "the edge says that the cloud is away" logged "answers go on"
[ "$(wc -l <"$work/lines")" -eq 40 ] || die "answers: $(wc -l <"$work/lines")"
fails "a second agent with the same data" any "in use" run "${base[@]}" --count 1
kill -TERM "$edge_pid" || die "it is gone"
edge_end "after SIGTERM"
expect "uploads that wait" "$(status a spool_files)" 1
expect "away, as the status says" "$(status a cloud)" away
expect "the state" "$(status a state)" stopped
[ "$(grep -c "uplink:.*trying again" "$work/edge.log")" -eq 1 ] || die "said more than once"

# --- a stop in the middle of a window: nothing answered is lost, nothing is sent twice ---

edge_start b --source world:source --window 1000 --budget 0.5 --rate 50
until_true "some answers" test -f "$work/b/status.json"
sleep 1
kill -TERM "$edge_pid"
edge_end "after SIGTERM in a window"
[ "$(status b seen)" -gt 0 ] && [ "$(status b spool_files)" -eq 1 ] || die "the window was not closed"

# --- then the cloud comes: what waited is sent, what it refuses is set aside ---

cloud_start
edge a --source world:source --count 40 || die "the agent that comes back"
expect "uploaded" "$(status a uploaded)" 10
expect "uploads that wait" "$(status a spool_files)" 0
"$bin/cdcca-edge" run --cloud "$url" --model "$work/stranger" --data "$work/stranger-data" \
    --source world:source --count 20 --window 20 2>>"$work/edge.log" || die "the stranger"
expect "refused for its encoder" "$(status stranger-data rejected)" 2
[ "$(find "$work/stranger-data/spool/rejected" -name '*.reason' | wc -l)" -eq 1 ] ||
    die "no reason beside the rejected upload"
fails "data of another model" any "another factory model" \
    run --cloud "$url" --model "$work/student" --data "$work/stranger-data" --source world:source --count 1

# --- a folder as the source: bad lines cost themselves alone, new ones are taken up ---

mkdir "$work/folder"
cp "$png" "$work/folder/good.png"
cp "$work/text.png" "$work/folder/bad.png"
cat >"$work/folder/questions.jsonl" <<'LINES'
{"image": "good.png", "question": "what color is it?"}
not json
{"image": "bad.png", "question": "what color is it?"}
{"image": "missing.png", "question": "what color is it?"}
{"image": "good.png", "question": "is it red?"}
LINES
rm -f "$work/lines"
edge_start c --source "$work/folder" --count 3 --json
until_true "the good lines are answered" status_is c seen 2
echo '{"image": "good.png", "question": "is it blue?"}' >>"$work/folder/questions.jsonl"
edge_end "after a grown folder"
expect "answers" "$(jq -s -c 'map(.question)' "$work/lines")" \
    '["what color is it?","is it red?","is it blue?"]'
passed
