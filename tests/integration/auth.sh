# auth.sh: what the tests of tokens and TLS share, on top of edge.sh. Sourced with $1 = the built
# programs.
source "$(dirname "${BASH_SOURCE[0]}")/edge.sh"

# token VERB...: cdcca-cloud token on the cloud's data
token() { "$bin/cdcca-cloud" token "$@" --data "$work/data" 2>"$work/token.log"; }
# code OPTION...: a code for one device
code() { "$bin/cdcca-cloud" enroll-code --data "$work/data" "$@"; }
# as TOKEN: the curl options with which one shows it; none without one
as() {
    who=()
    [ -z "$1" ] || who=(-H "Authorization: Bearer $1")
}
# header NAME: of the last answer that was taken with -D "$work/head"
header() { sed -n "s/^$1: *\\([^\\r]*\\)\\r*\$/\\1/Ip" "$work/head"; }

# calls COUNT [CURL OPTION...]: so many without a token, or until one is refused, however slow this
# machine is; prints the last one's status, its head is in $work/head
calls() {
    local count=$1
    shift
    curl -sf --fail-early -o /dev/null -w '%{http_code}\n' -D "$work/head" "$@" \
        "$url/healthz?n=[1-$count]" | tail -n 1 || true
}

# cert_make NAME: a self-made certificate for this machine, NAME.pem and NAME.key
cert_make() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test \
        -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout "$work/$1.key" \
        -out "$work/$1.pem" 2>"$work/openssl.log" || die "openssl: $(cat "$work/openssl.log")"
}

# refuses WHAT STATUS PATTERN OPTION...: cdcca-cloud serve does not start, and says why
refuses() {
    local what=$1 should=$2 pattern=$3 is=0
    shift 3
    timeout 20 "$bin/cdcca-cloud" serve --data "$work/refused" --teacher "$work/teacher" \
        --student "$work/student" "$@" 2>"$work/refused.log" || is=$?
    expect "$what: exit status" "$is" "$should"
    grep -q -- "$pattern" "$work/refused.log" || die "$what: said $(cat "$work/refused.log")"
}
