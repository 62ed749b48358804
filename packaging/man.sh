#!/usr/bin/env bash
# man.sh PROGRAM TEMPLATE VERSION SYSCONFDIR DATADIR STATEDIR: a man page on stdout. The template is
# the prose; its line @COMMANDS@ becomes a section for every command, with the options that the
# program itself lists; @NAME@s of the arguments are filled in.
set -euo pipefail
program=$1 template=$2 version=$3 sysconfdir=$4 datadir=$5 statedir=$6
source "$(dirname "$(readlink -f "$0")")/help.sh"

# roff: text on stdin, so that nothing of it is a request, a dash stays a dash, and a list of values
# (a|b) may be broken
roff() {
    sed -e 's/\\/\\e/g' -e 's/-/\\-/g' -e 's/|/|\\:/g' -e "s/^\([.']\)/\\\\\&\1/"
}

# command_section WORD...: a command that only leads to others is left out
command_section() {
    local text name argument help
    text=$(help_text "$@")
    grep -q '^  --' <<<"$text" || return 0
    printf '.SS "%s"\n' "$(roff <<<"$(basename "$program") $*")"
    sed -n '1s/^[^:]*: *//p' <<<"$text" | roff
    printf '.PP\n'
    sed -n 's/^usage: //p' <<<"$text" | roff
    while IFS=$field read -r name argument help; do
        printf '.TP\n\\fB%s\\fR' "$(roff <<<"$name")"
        [ -z "$argument" ] || printf ' \\fI%s\\fR' "$(roff <<<"$argument")"
        printf '\n%s\n' "$(roff <<<"$help")"
    done < <(help_options "$@")
}

while IFS= read -r line; do
    if [ "$line" = '@COMMANDS@' ]; then
        help_walk command_section
    else
        line=${line//@VERSION@/$version}
        line=${line//@SYSCONFDIR@/$sysconfdir}
        line=${line//@DATADIR@/$datadir}
        printf '%s\n' "${line//@STATEDIR@/$statedir}"
    fi
done <"$template"
