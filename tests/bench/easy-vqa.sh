#!/usr/bin/env bash
# easy-vqa.sh [--data DIR] [--rounds N] [--port P] [--json]: images and questions that no one here
# made. The teacher and the student know nothing of easy-VQA; the edge is fed its training split
# without the answers; after the last round the student is scored on the test split.
# Prints the student before and after, the teacher, and the share of the gap that was closed, for
# all questions and, because guessing does well on yes/no, for those with another answer.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
source demo/shell.sh

data=../shared/data/easy-vqa rounds=5 port=8090 json=false
readonly work=run/easy-vqa stream_seed=1

parse_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --json) json=true ;;
        --data | --rounds | --port)
            [ $# -ge 2 ] || die "$1 wants a value"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        *) die "unknown option '$1'; usage: easy-vqa.sh [--data DIR] [--rounds N] [--port P] [--json]" ;;
        esac
        shift
    done
    [ -f "$data/train/questions.json" ] || die "$data holds no easy-VQA (train/questions.json)"
}

# convert FROM TO FILTER: a split as a folder the agent reads; FILTER picks the lines
convert() {
    mkdir -p "$2"
    cp -r "$1/images" "$2/"
    jq -c "$3" "$1/questions.json" >"$2/questions.jsonl"
}

convert_all() {
    rm -rf "$work"
    convert "$data/train" "$work/stream" \
        '. as $all | range(0; length; 8) | $all[.] | {image: "images/\(.[2]).png", question: .[0]}'
    convert "$data/test" "$work/open" '.[] | select(.[1] != "yes" and .[1] != "no")
        | {image: "images/\(.[2]).png", question: .[0], answer: .[1]}'
    convert "$data/test" "$work/test" \
        '.[] | {image: "images/\(.[2]).png", question: .[0], answer: .[1]}'
}

# score_split NAME MODEL [OPTION...]: {"all", "open"} in percent into work/NAME.json
score_split() {
    local name=$1 split count
    shift
    for split in test open; do
        count=$(wc -l <"$work/$split/questions.jsonl")
        score "$work/$split" "$count" "$stream_seed" "$@" >"$work/$name.$split" 2>>"$work/$name.log" ||
            die "cannot score; see $work/$name.log"
    done
    jq -s '{all: .[0].all.da, open: .[1].all.da}' "$work/$name.test" "$work/$name.open" \
        >"$work/$name.json"
}

say_round() { # ROUND
    say "round $1: $(jq -r '"\(.instances_uploaded) of \(.instances_seen) uploaded, \(.uplink_bytes) bytes up, \(.delta_bytes) bytes down"' \
        "$work/round-$1.edge")"
}

run_loop() {
    cloud_start "$work"
    edge_start "$work" "$work/stream" "$stream_seed" "$rounds"
    edge_follow "$work" "$rounds" say_round
}

report() {
    jq -s '
        def closed($key): (.[2][$key] - .[0][$key]) as $gap
            | if $gap == 0 then null else 100 * (.[1][$key] - .[0][$key]) / $gap end;
        {student_before: .[0], student_after: .[1], teacher: .[2],
         gap_closed: {all: closed("all"), open: closed("open")}}' \
        "$work/before.json" "$work/after.json" "$work/teacher.json" >"$work/report.json"
    if $json; then
        cat "$work/report.json"
    else
        jq -r -L demo 'include "table";
            def cell: if . == null then "-" else fixed(1) end | pad(16);
            "percent right" + ("all questions" | pad(25)) + ("not yes/no" | pad(16)),
            (to_entries[] | (.key | padr(22)) + (.value.all | cell) + (.value.open | cell))' \
            "$work/report.json"
    fi
}

main() {
    parse_options "$@"
    source demo/loop.sh
    loop_check
    trap loop_stop EXIT
    trap 'exit 130' INT TERM
    convert_all
    score_split before "$student"
    score_split teacher "$teacher"
    run_loop
    score_split after "$student" --trainable "$work/round-$rounds.safetensors"
    report
}

main "$@"
