#!/usr/bin/env bash
# test_package.sh [DIR]: the Debian packages (built, or those in DIR): what they hold, then in a
# clean Debian 12 of their own dependencies alone, made by debootstrap from where this machine takes
# its packages: installed, one round of the loop by an unprivileged user with the configuration as
# shipped, installed again, removed, purged. Exit code 77: skipped, with the reason.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
source demo/shell.sh
readonly user=61184 # nobody's: the first that systemd gives a dynamic user
work=$(mktemp -d /tmp/cdcca-package-XXXXXX)
root=$work/root
cloud_pid=''

cleanup() {
    if [ -n "$cloud_pid" ]; then kill -9 "$cloud_pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

skip() {
    say "skipped: $*"
    exit 77
}

# expect WHAT IS SHOULD
expect() {
    [ "$2" = "$3" ] || die "$1 is '$2', should be '$3'"
}

# deb NAME: its file; field NAME FIELD; holds NAME PATH...: the package has these files
deb() { echo "$debs"/"$1"_*.deb; }
field() { dpkg-deb -f "$(deb "$1")" "$2"; }
holds() {
    local name=$1 list path
    shift
    list=$(dpkg-deb -c "$(deb "$name")" | awk '{print $6}')
    for path in "$@"; do
        grep -qxF "./$path" <<<"$list" || die "$name does not hold /$path"
    done
}

# depends NAME PACKAGE...: these are among its Depends
depends() {
    local name=$1 package
    shift
    for package in "$@"; do
        grep -qE "(^|[ ,|])$package([ ,]|$)" <<<"$(field "$name" Depends)" ||
            die "$name does not depend on $package"
    done
}

# ---- what the packages hold ----

check_contents() {
    local name
    for name in cloud edge model; do
        holds "cdcca-$name" "usr/bin/cdcca-$name" "usr/share/man/man1/cdcca-$name.1.gz" \
            "usr/share/bash-completion/completions/cdcca-$name" \
            "usr/share/doc/cdcca-$name/copyright" "usr/share/doc/cdcca-$name/changelog.gz"
        depends "cdcca-$name" libopenblas0-pthread libc6 libsodium23
    done
    for name in cloud edge; do
        holds "cdcca-$name" "etc/cdcca/$name.json" "usr/lib/systemd/system/cdcca-$name.service"
        depends "cdcca-$name" cdcca-models
        expect "conffiles of cdcca-$name" \
            "$(dpkg-deb -I "$(deb "cdcca-$name")" conffiles | tr -d ' ')" "/etc/cdcca/$name.json"
    done
    depends cdcca-cloud libmicrohttpd12 libsqlite3-0
    depends cdcca-edge libcurl4
    holds cdcca-models usr/share/cdcca/models/{student,teacher}/{config.json,model.safetensors,tokenizer.json}
    holds libcdcca-edge0 "usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/libcdcca-edge.so.0"
    holds libcdcca-edge-dev usr/include/cdcca/cdcca.h usr/share/doc/libcdcca-edge-dev/examples/ask.c
    depends libcdcca-edge-dev libcdcca-edge0
    depends libcdcca-edge0 libcurl4 libopenblas0-pthread
    expect "the models' architecture" "$(field cdcca-models Architecture)" all
}

check_lintian() {
    command -v lintian >/dev/null || return 0
    lintian --allow-root --fail-on error,warning "$debs"/*.deb || die "lintian complains"
}

# The units' exposure, of 10, below 2.5; and nothing in them that systemd does not know.
check_units() {
    local name
    command -v systemd-analyze >/dev/null || return 0
    for name in cloud edge; do
        dpkg-deb --fsys-tarfile "$(deb "cdcca-$name")" |
            tar -xO "./usr/lib/systemd/system/cdcca-$name.service" >"$work/cdcca-$name.service"
        systemd-analyze security --offline=true --threshold=25 --no-pager \
            "$work/cdcca-$name.service" >"$work/exposure" || {
            cat "$work/exposure" >&2
            die "cdcca-$name.service is exposed too much"
        }
        tail -n 1 "$work/exposure" >&2
        systemd-analyze verify --man=no "$work/cdcca-$name.service" 2>&1 |
            grep -v 'is not executable' | grep . >&2 && die "cdcca-$name.service is not right"
    done
    return 0
}

# ---- a clean system ----

# The packages that ours need and do not bring, the first of alternatives, without versions.
wanted_packages() {
    local name
    for name in "$debs"/*.deb; do
        dpkg-deb -f "$name" Depends
    done | tr ',' '\n' | sed -E 's/[|(].*//; s/ //g' | grep -vE '^(cdcca-|libcdcca-|$)' | sort -u
}

make_root() {
    local mirror
    mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
        awk '$2 == "bookworm" {print $1; exit}')
    [ -n "$mirror" ] || skip "apt knows no place with bookworm's packages"
    quietly "debootstrap" "$work/debootstrap.log" debootstrap --variant=minbase \
        --include="$(wanted_packages | paste -sd,)" bookworm "$root" "$mirror" ||
        die "debootstrap failed"
    mkdir "$root/debs"
    cp "$debs"/*.deb "$root/debs"
}

inside() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" "$@"
}

# as_service VARIABLE=VALUE... COMMAND...: as systemd would run it, without any privilege. In the
# background only: it takes the shell's place, so that a signal reaches the program.
as_service() {
    exec chroot --userspec="$user:$user" --groups='' "$root" \
        env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"
}

install_all() {
    inside sh -c 'dpkg -i --force-confold /debs/*.deb' >"$work/dpkg.log" 2>&1 || {
        cat "$work/dpkg.log" >&2
        die "dpkg -i failed"
    }
}

# ---- the loop in there ----

json() { # URL JQ FILTER
    curl -sS "$url$1" | jq -r "$2"
}

until_is() { # WHAT SHOULD COMMAND...: within 120 s
    local what=$1 should=$2 tries is=''
    shift 2
    for tries in $(seq 1200); do
        is=$("$@" 2>/dev/null) || true
        [ "$is" != "$should" ] || return 0
        sleep 0.1
    done
    tail -n 5 "$work"/*.log >&2
    die "$what is '$is' after 120 s, should be '$should'"
}

cloud_port() { sed -n 's|.*listening on http://127.0.0.1:||p' "$work/cloud.log"; }
cloud_listens() { [ -n "$(cloud_port)" ] && echo yes; }

cloud_begin() {
    as_service CDCCA_LISTEN=127.0.0.1:0 cdcca-cloud serve --config /etc/cdcca/cloud.json \
        2>"$work/cloud.log" &
    cloud_pid=$!
    until_is "the cloud listens" yes cloud_listens
    url=http://127.0.0.1:$(cloud_port)
}

cloud_end() {
    kill -TERM "$cloud_pid"
    wait "$cloud_pid" || die "exit status $? of the cloud"
    cloud_pid=''
}

run_loop() {
    local name
    for name in cloud edge; do
        install -d -m 700 -o $user -g $user "$root/var/lib/cdcca-$name"
    done
    cloud_begin
    as_service CDCCA_CLOUD="$url" CDCCA_SOURCE=world:target CDCCA_WINDOW=120 CDCCA_BUDGET=0.4 \
        CDCCA_COUNT=120 CDCCA_ROUNDS=1 cdcca-edge run --config /etc/cdcca/edge.json \
        2>"$work/edge.log" &
    local edge_pid=$!
    until_is "instances at the cloud" 48 json /tokens '[.uploads[].instances] | add'
    curl -sS -o /dev/null -H 'Content-Type: application/json' -d '{"steps": 20, "holdout": 0}' \
        "$url/distill"
    wait "$edge_pid" || die "exit status $? of the agent: $(tail -n 3 "$work/edge.log")"
    sha256=$(json /model .sha256)
    expect "the cloud's version" "$(json /model .version)" 1
    cloud_end
    expect_state
}

# expect_state: the edge is at version 1 with the cloud's parameters, and answers with them
expect_state() {
    local is
    is=$(inside cdcca-edge status --data /var/lib/cdcca-edge --json)
    expect "the edge's version" "$(jq -r .version <<<"$is")" 1
    expect "the edge's parameters" "$(jq -r .sha256 <<<"$is")" "$sha256"
    cp "$work/scene.png" "$root/tmp/scene.png"
    is=$(inside cdcca-edge ask --data /var/lib/cdcca-edge --image /tmp/scene.png --json "is there a circle?")
    expect "the version that answers" "$(jq -r .version <<<"$is")" 1
}

present() { # WHETHER PATH...
    local whether=$1 path
    shift
    for path in "$@"; do
        if [ "$whether" = yes ]; then
            [ -e "$root$path" ] || die "$path is gone"
        else
            [ ! -e "$root$path" ] || die "$path is left"
        fi
    done
}

# ---- the whole ----

[ "$(id -u)" -eq 0 ] || skip "only root can make a root of its own"
for tool in debootstrap dpkg-shlibdeps curl jq; do
    command -v "$tool" >/dev/null || skip "$tool is missing"
done
debs=${1:-}
if [ -z "$debs" ]; then
    quietly "packages" build/logs/package.log packaging/build.sh || die "the packages are not built"
    debs=build/package/packages
fi
check_contents
check_lintian
check_units
make_root
install_all
inside cdcca-model generate-world world:target --count 1 --out /tmp/world >"$work/world.log" 2>&1
cp "$(find "$root/tmp/world" -name '*.png')" "$work/scene.png"
! inside sh -c 'ldd /usr/lib/*/libcdcca-edge.so.0' | grep "not found" || die "the library lacks something"
present no /etc/systemd/system/multi-user.target.wants/cdcca-{cloud,edge}.service
run_loop

# Again, as an upgrade would be: what was configured and learned stays.
sed -i 's/"round_uploads": 91/"round_uploads": 92/' "$root/etc/cdcca/cloud.json"
install_all
grep -q '"round_uploads": 92' "$root/etc/cdcca/cloud.json" || die "the configuration was overwritten"
expect_state
cloud_begin
expect "the cloud's version after a restart" "$(json /model .version)" 1
cloud_end

# Removed: programs go, configuration and state stay. Purged: these go, too.
inside dpkg -r cdcca-cloud cdcca-edge >"$work/dpkg.log" 2>&1 || die "$(cat "$work/dpkg.log")"
present no /usr/bin/cdcca-{cloud,edge}
present yes /etc/cdcca/{cloud,edge}.json /var/lib/cdcca-{cloud,edge}
inside dpkg -P cdcca-cloud cdcca-edge cdcca-model cdcca-models >"$work/dpkg.log" 2>&1 ||
    die "$(cat "$work/dpkg.log")"
present no /etc/cdcca /var/lib/cdcca-{cloud,edge} /usr/share/cdcca /var/spool/cdcca-edge
say "the packages work: built, installed, one round, installed again, removed, purged"
