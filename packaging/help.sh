# help.sh: what a program says of itself, as data: the man pages and the completions are made from
# it, so that neither can differ from the program. Sourced with $program = the built program.
# Rows have fields between $field: a tab would not do, read drops an empty field before one.
field=$'\037'

declare -gA help_of # its --help, by command

# help_load WORD...: asks the program, once for every command, as in a plain environment
help_load() {
    local name
    help_of["/$*"]=$(env -i PATH="$PATH" "$program" "$@" --help)
    while read -r name; do
        help_load "$@" "$name"
    done < <(help_commands "$@")
}

# help_text WORD...: the --help of a command
help_text() {
    printf '%s\n' "${help_of["/$*"]}"
}

# help_commands WORD...: the commands one step below, one a line
help_commands() {
    local name
    name=$(basename "$program")
    help_text "$@" | awk -v path="$name${*:+ $*}" '
        { line = $0; sub(/^(usage:|      ) /, "", line) }
        /^(usage:|      ) / && index(line, path " ") == 1 {
            split(substr(line, length(path) + 2), word, " ")
            if (word[1] ~ /^[a-z][a-z-]*$/ && !seen[word[1]]++)
                print word[1]
        }
        /^  [a-z][a-z-]* +[^ ]/ && !seen[$1]++ { print $1 }'
}

# help_options WORD...: rows of --name, ARGUMENT or nothing, what it does
help_options() {
    help_text "$@" | awk -v field="$field" '
        function row(name, argument, text) { print name field argument field text }
        /^  --help, --version/ { row("--help", "", "print the options and exit")
                                 row("--version", "", "print the version and exit"); next }
        /^  --[a-z0-9-]+ +/ {
            name = $1
            rest = substr($0, length(name) + 3)
            if (match(rest, /^   *[^ ]/) && substr(rest, 1, 2) == "  ") {
                sub(/^ +/, "", rest)
                row(name, "", rest)
            } else {
                argument = $2
                rest = substr(rest, length(argument) + 2)
                sub(/^ +/, "", rest)
                row(name, argument, rest)
            }
        }'
}

# help_walk DO: calls DO WORD... for every command of the program, depth first
help_walk() {
    local do=$1 name
    shift
    while read -r name; do
        "$do" "$@" "$name"
        help_walk "$do" "$@" "$name"
    done < <(help_commands "$@")
}

help_load
