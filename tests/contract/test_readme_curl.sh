#!/usr/bin/env bash
# test_readme_curl.sh BUILD: the README's block "With curl" runs as it stands, against another port:
# each GET answers 200, each POST 202, what is piped to jq is what jq can read.
source "$(dirname "$0")/../integration/cloud.sh"
cloud_start
for seed in 1 2 3 4 5; do
    BASE=$((seed - 1)) payload "$seed" 16 >"$work/up"
    expect "upload $seed" "$(upload "$work/up")" 201
    expect "round $seed" "$(round_wait "$(distill '{"holdout":0,"steps":20,"batch":8}')")" released
done
sed -n '/^## With curl/,/^## For/p' "$here/../../README.md" |
    sed "s|localhost:8080|127.0.0.1:$port|g" >"$work/section"
awk '/^An upload by hand/ {exit} /^curl/' "$work/section" >"$work/lines"
awk '/^An upload by hand/ {on = 1} /^```$/ {code = 0} on && code; /^```sh/ {code = 1}' "$work/section" >"$work/by-hand"
[ "$(wc -l <"$work/lines")" -ge 9 ] || die "the README has fewer curl lines than expected"
number=10
while IFS= read -r line; do
    case $line in # a round takes uploads that no round has used
    *'-X POST'*)
        number=$((number + 1))
        BASE=5 payload "$number" 16 >"$work/up"
        expect "upload $number" "$(upload "$work/up")" 201
        ;;
    esac
    (cd "$work" && bash -c "set -eo pipefail; ${line/curl /curl -sS --fail-with-body }" >"$work/answer" 2>&1) ||
        die "does not run: $line: $(head -c 300 "$work/answer")"
    case $line in
    *'-X POST'*)
        id=$(answer .id)
        get "/distill/$id" -X DELETE >/dev/null
        round_wait "$id" >/dev/null
        ;;
    esac
done <"$work/lines"
(cd "$work" && bash -eo pipefail by-hand) >"$work/answer" 2>/dev/null
expect "the upload by hand: device" "$(answer .device)" by-hand
expect "its instances" "$(answer .instances)" 1
[ -s "$work/1" ] || die "curl -O left no patch"
cloud_stop
