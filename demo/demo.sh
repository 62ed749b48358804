#!/usr/bin/env bash
# demo.sh: the loop, measured. Two processes over real HTTP on this machine: cdcca-cloud with the
# built-in teacher and student, and cdcca-edge answering a drifting stream. After each round the
# student that the edge then has is scored on held-out samples; the end compares it with the
# student as shipped, with the teacher, and with a student whose output head alone was re-fitted to
# the same uploads.
#
# Called by ./quickstart demo (its help lists the options). Needs bash, curl and jq.
# Streams use seeds 1, 2, ..; evaluation uses seeds from 900001 on, so that no scored sample was
# ever streamed or trained on. State, logs and every single result lie under run/demo/seed-N/.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
source demo/shell.sh

keep=false json=false seeds=1 rounds=5 port=8080 data=run/demo report=report.json
readonly target_count=${CDCCA_DEMO_TARGET:-1300} source_count=${CDCCA_DEMO_SOURCE:-900}
readonly eval_seed_base=900000
baseline_pid='' refit_pid=''

integer_or_die() { # OPTION VALUE LOW HIGH
    [[ $2 =~ ^[0-9]{1,6}$ ]] && [ "$2" -ge "$3" ] && [ "$2" -le "$4" ] ||
        die "$1 wants a whole number from $3 to $4, not '$2'"
}

parse_options() {
    while [ $# -gt 0 ]; do
        case $1 in
        --keep) keep=true ;;
        --json) json=true ;;
        --seeds | --rounds | --port | --data | --report)
            [ $# -ge 2 ] || die "$1 wants a value"
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        *) die "unknown option '$1'; ./quickstart help lists them" ;;
        esac
        shift
    done
    integer_or_die --seeds "$seeds" 1 100
    integer_or_die --rounds "$rounds" 1 100
    integer_or_die --port "$port" 1 65535
}

clean_up() {
    stop "$baseline_pid"
    stop "$refit_pid"
    loop_stop
}

# table FILTER FILE...: prints by demo/table.jq
table() {
    local filter=$1
    shift
    jq -r -L demo "include \"table\"; $filter" "$@" >&2
}

# score_both OUT SEED MODEL [OPTION...]: held-out target and source, the report's groups into OUT
score_both() {
    local out=$1 seed=$((eval_seed_base + $2))
    shift 2
    score world:target "$target_count" "$seed" "$@" >"$out.target" 2>>"$out.log"
    score world:source "$source_count" "$seed" "$@" >"$out.source" 2>>"$out.log"
    jq -n -f demo/score.jq --slurpfile target "$out.target" --slurpfile source "$out.source" >"$out"
}

# The student as shipped and the teacher, scored beside the first round.
baselines_start() { # DIR SEED
    (
        score_both "$1/source_only.json" "$2" "$student"
        score_both "$1/teacher.json" "$2" "$teacher"
    ) &
    baseline_pid=$!
}

baselines_finish() { # DIR
    [ -n "$baseline_pid" ] || return 0
    wait "$baseline_pid" || die "cannot score the built-in models; see $1/*.log"
    baseline_pid=''
    table head -n
    table row "$1/source_only.json"
}

# A student with a re-fitted head, from all uploads; runs beside the last round's scoring.
head_refit() { # DIR SEED
    mkdir -p "$1/uploads"
    local id
    for id in $(curl -fsS "$(loop_url)/tokens?limit=100" | jq '.uploads[].id'); do
        curl -fsS -o "$1/uploads/$id" "$(loop_url)/tokens/$id/payload"
    done
    "$bin/cdcca-model" refit --teacher "$teacher" --student "$student" --data world:target \
        --count "$target_count" --seed $((eval_seed_base + $2)) --json "$1"/uploads/* \
        >"$1/head_refit.full" 2>"$1/head_refit.log"
    jq '.head_refit | {target, new_concepts} | map_values(map_values(. * 100 | round / 100))' \
        "$1/head_refit.full" >"$1/head_refit.json"
}

peak_kib() { # PID: 0 when it is gone
    awk '/^VmHWM/ {peak = $2} END {print peak + 0}' "/proc/$1/status" 2>/dev/null || echo 0
}

round_finished() { # DIR SEED ROUND
    local dir=$1 seed=$2 round=$3
    baselines_finish "$dir"
    if [ "$round" -eq "$rounds" ]; then
        head_refit "$dir" "$seed" &
        refit_pid=$!
    fi
    score_both "$dir/round-$round.score" "$seed" "$student" \
        --trainable "$dir/round-$round.safetensors"
    jq -s --argjson round "$round" '.[0] + .[1] + {round: $round}' \
        "$dir/round-$round.edge" "$dir/round-$round.score" >"$dir/round-$round.json"
    table row "$dir/round-$round.json"
}

seed_report() { # DIR
    local dir=$1 round files=()
    for round in $(seq "$rounds"); do
        files+=("$dir/round-$round.json")
    done
    jq -s -L demo 'include "report"; seed($identical; $cloud_kib)' \
        --argjson identical "$(identical "$dir")" \
        --argjson cloud_kib "$(peak_kib "$cloud_pid")" \
        "$dir/source_only.json" "$dir/teacher.json" "$dir/head_refit.json" "${files[@]}" \
        >"$dir/seed.json"
}

run_seed() { # SEED
    local seed=$1 dir=$data/seed-$1
    rm -rf "$dir"
    mkdir -p "$dir"
    say ""
    say "seed $seed: cloud on $(loop_url), edge answering world:drift; logs in $dir"
    cloud_start "$dir"
    baselines_start "$dir" "$seed"
    edge_start "$dir" world:drift "$seed" "$rounds"
    edge_follow "$dir" "$rounds" round_finished "$dir" "$seed"
    wait "$refit_pid" || die "the head refit failed; see $dir/head_refit.log"
    refit_pid=''
    seed_report "$dir"
    if ! $keep || [ "$seed" -lt "$seeds" ]; then
        loop_stop
    fi
}

write_report() {
    local seed files=()
    for seed in $(seq "$seeds"); do
        files+=("$data/seed-$seed/seed.json")
    done
    jq -s '{seeds: .}' "${files[@]}" >"$report"
    say ""
    table summary "$report"
    say "the numbers: $report"
    if $json; then
        cat "$report"
    fi
}

say_goodbye() {
    local url
    url=$(loop_url)
    say ""
    if $keep; then
        say "The cloud goes on at $url (stop it: kill $cloud_pid). Try:"
        cloud_pid=''
    else
        say "The cloud is stopped; with --keep it stays at $url, and you can:"
    fi
    say "  curl $url/tokens          # the uploads"
    say "  curl $url/distill/1       # the first round: settings, losses, the gate"
    say "  curl -O $url/deltas/1     # the weights that came of it"
}

main() {
    local seed
    parse_options "$@"
    source demo/loop.sh
    loop_check
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    for seed in $(seq "$seeds"); do
        run_seed "$seed"
    done
    write_report
    say_goodbye
}

main "$@"
