#!/usr/bin/env bash
# completion.sh PROGRAM: a bash completion on stdout, from what the program says of itself. Knows
# every command and option; an option's argument completes to file names where it is one, to its
# values where they are listed (4|8), else to nothing.
set -euo pipefail
program=$1
source "$(dirname "$(readlink -f "$0")")/help.sh"
name=$(basename "$program")
function=_${name//-/_}

# words WORD...: what may follow the command
words() {
    { help_commands "$@"; help_options "$@" | cut -d "$field" -f 1; } | tr '\n' ' ' | sed 's/ $//'
}

path_line() { # WORD...
    printf "        ' %s') words='%s' ;;\n" "$*" "$(words "$@")"
}

path_pattern() { # WORD...
    printf "|' %s'" "$*"
}

argument_lines() { # WORD...
    local option argument help
    while IFS=$field read -r option argument help; do
        case $argument in
        '') ;;
        *FILE* | *DIR*) printf "        ' %s %s') files=1 ;;\n" "$*" "$option" ;;
        *[A-Z]*) printf "        ' %s %s') return ;;\n" "$*" "$option" ;;
        *\|*) printf "        ' %s %s') words='%s' ;;\n" "$*" "$option" "${argument//|/ }" ;;
        *) printf "        ' %s %s') return ;;\n" "$*" "$option" ;;
        esac
    done < <(help_options "$@")
}

cat <<HEAD
# bash completion for $name, made from its --help
$function() {
    local word current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
    local path='' words='' files=''
    for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "\$path \$word" in
        $(help_walk path_pattern | sed 's/^|//')) path="\$path \$word" ;;
        esac
    done
    case "\$path" in
        '') words='$(help_commands | tr '\n' ' ')--help --version' ;;
$(help_walk path_line)
    esac
    case "\$path \$previous" in
$(help_walk argument_lines)
    esac
    if [ -n "\$files" ] || [[ -n \$path && \$current != -* && \$words == --* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "\$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "\$words" -- "\$current")
    fi
}
complete -o filenames -F $function $name
HEAD
