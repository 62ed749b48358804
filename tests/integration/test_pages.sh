#!/usr/bin/env bash
# test_pages.sh BUILD: the man pages and completions that packaging/ makes from the programs: every
# command and every option that a --help names is in both, pages are free of troff's warnings, and
# the completion offers what fits.
set -euo pipefail
bin=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "$0")")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

die() {
    echo "FAIL: $*" >&2
    exit 1
}

# complete_words WORD...: what the completion offers for the last word
complete_words() {
    local function=_${1//-/_}
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    "$function"
    printf '%s\n' "${COMPREPLY[@]}"
}

# expect_offers WHAT WORDS...: exactly these words, in any order
expect_offers() {
    local what=$1 is words
    shift
    IFS=' ' read -ra words <<<"$what"
    [ "${what% }" = "$what" ] || words+=('') # a blank at the end: the next word is asked for
    is=$(complete_words "${words[@]}" | sort | tr '\n' ' ')
    [ "$is" = "$(printf '%s\n' "$@" | sort | tr '\n' ' ')" ] || die "'$what' completes to: $is"
}

check_command() { # NAME WORD...
    local name=$1 option
    shift
    grep -qF ".SS \"$name $*\"" "$work/plain" || die "$name.1 has no section '$name $*'"
    complete_words "$name" "$@" -- >"$work/offered"
    awk -v section=".SS \"$name $*\"" '/^\.SS/ {on = $0 == section} on' "$work/plain" >"$work/section"
    while read -r option; do
        grep -qF "fB$option\\" "$work/section" || die "$name.1: '$name $*' lacks $option"
        grep -qx -- "$option" "$work/offered" || die "completion of '$name $*' lacks $option"
    done < <("$bin/$name" "$@" --help | grep -oE '^  --[a-z0-9-]+|^  --help, --version' |
        tr -d ' ' | tr ',' '\n')
}

check_program() { # NAME: its commands are those of help.sh, checked against the program below
    local tool=$1
    packaging/man.sh "$bin/$tool" "packaging/man/$tool.1.in" 1.2.3 /etc /usr/share /var/lib \
        >"$work/$tool.1"
    sed 's/\\-/-/g' "$work/$tool.1" >"$work/plain"
    if command -v man >/dev/null; then
        MANWIDTH=80 man --warnings -l "$work/$tool.1" 2>"$work/warnings" >/dev/null
        [ ! -s "$work/warnings" ] || die "$tool.1: $(cat "$work/warnings")"
    fi
    ! grep -E '@[A-Z]+@' "$work/$tool.1" || die "$tool.1: a place was not filled in"
    packaging/completion.sh "$bin/$tool" >"$work/$tool.completion"
    # shellcheck source=/dev/null
    source "$work/$tool.completion"
    # shellcheck disable=SC2034
    program=$bin/$tool
    source packaging/help.sh
    local checked=0
    check_one() {
        ! "$bin/$tool" "$@" --help | grep -q '^  --' || {
            check_command "$tool" "$@"
            checked=$((checked + 1))
        }
    }
    help_walk check_one
    [ "$checked" -ge "$2" ] || die "$tool: $checked commands found, $2 at least are there"
}

check_program cdcca-cloud 1
check_program cdcca-edge 3
check_program cdcca-model 20
touch "$work/here.png"
expect_offers "cdcca-edge run --bits " 4 8
expect_offers "cdcca-edge ask --image $work/here" "$work/here.png"
expect_offers "cdcca-edge run --spool-b" --spool-bytes
expect_offers "cdcca-model bench dec" decode
