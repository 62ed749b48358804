#!/usr/bin/env bash
# The pages over HTTP: who gets the dashboard at / and the contract at /docs, what they may load,
# conditional requests, names that lead nowhere.
source "$(dirname "$0")/cloud.sh"
cloud_start

header() { # NAME: of the answer in $work/head
    sed -n "s/^$1: \(.*\)\r$/\1/Ip" "$work/head"
}

expect "/ for curl" "$(get / -D "$work/head")" 200
expect "its type" "$(header Content-Type)" "text/plain; charset=utf-8"
grep -q 'POST   /distill' "$work/answer" || die "no routes in the text"
awk '/^Try:/ {on = 1; next} on' "$work/answer" >"$work/lines"
[ "$(wc -l <"$work/lines")" -eq 5 ] || die "the text of / has no lines to try"
while read -r line; do # as they stand; an error is an answer, too
    (cd "$work" && bash -c "${line/&wait=30/}" >"$work/tried") || die "does not run: $line"
    [[ $line != *-sO* ]] || mv "$work/1" "$work/tried"
    [ "$(tail -c 1 "$work/tried" | wc -l)" -eq 1 ] || die "no end of a line after the answer to $line"
done <"$work/lines"
expect "another host's name" "$(get / -H 'Host: a b/')" 200
grep -q 'curl -s http://localhost:8080/tokens' "$work/answer" || die "the text repeats any host"
expect "an unknown parameter" "$(get '/tokens?x=1')" 400
answer .detail | grep -q 'known here: after, ' || die "no word about those that are known"
expect "/ for a browser" "$(get / -D "$work/head" -H 'Accept: text/html,application/xhtml+xml,*/*;q=0.8')" 200
expect "its type" "$(header Content-Type)" "text/html; charset=utf-8"
expect "what it varies by" "$(header Vary)" Accept
header Content-Security-Policy | grep -q "^default-src 'self';" || die "no policy: $(header Content-Security-Policy)"
cmp -s "$work/answer" "$here/../../web/index.html" || die "the page is another"

expect "/docs for a browser" "$(get /docs -D "$work/head" -H 'Accept: text/html')" 200
cmp -s "$work/answer" "$here/../../web/docs.html" || die "the contract's page is another"
expect "/docs for curl" "$(get /docs -D "$work/head")" 200
cmp -s "$work/answer" "$here/../../openapi/openapi.yaml" || die "the contract is another"
expect "what a problem means" "$(get "$(curl -sS "$url/nowhere" | jq -r .type)")" 200
grep -q 'HTTP status 404' "$work/answer" || die "the type does not lead to its page"

expect "a module" "$(get /web/app.js -D "$work/head")" 200
cmp -s "$work/answer" "$here/../../web/app.js" || die "the module is another"
expect "nosniff" "$(header X-Content-Type-Options)" nosniff
etag=$(header ETag)
expect "the module again" "$(get /web/app.js -H "If-None-Match: $etag")" 304
expect "after a change" "$(get /web/app.js -H 'If-None-Match: "0"')" 200
expect "HEAD" "$(get /web/style.css -I)" 200

while read -r path status; do
    expect "$path" "$(get "$path" --path-as-is)" "$status"
done <<'CASES'
/web/none.js 404
/web/ 404
/web/../server/main.c 400
/web/%2e%2e/x 400
/vendor/other.js 404
CASES
if [ -f /usr/share/javascript/chart.js/chart.min.js ]; then
    expect "the library" "$(get /vendor/chart.js)" 200
else
    expect "no library" "$(get /vendor/chart.js)" 404
    answer .detail | grep -q libjs-chart.js || die "no word about the package"
fi
cloud_stop
