#!/usr/bin/env bash
# test_web.sh: the files of the dashboard and of the contract's page. Each is compiled in, says at its head what it is, is small
# enough together, and neither parses data as HTML nor names another server. $1: unused.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
broken=0

wrong() {
    echo "$*"
    broken=1
}

for file in web/*; do
    name=${file#web/}
    grep -q "\"$name\"" server/assets.c || wrong "$file is not in server/assets.c"
    case $name in
    *.js | *.css)
        head -n 1 "$file" | grep -q "^/\* $name: " || wrong "$file does not begin with \"/* $name: \""
        ;;
    esac
done
for name in $(grep -o '"[a-z]*\.\(js\|css\|html\|svg\)"' server/assets.c | tr -d '"'); do
    [ -f "web/$name" ] || wrong "server/assets.c names web/$name, which is not there"
done
if grep -nE 'innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function' web/*; then
    wrong "data is parsed as HTML or as a program"
fi
if grep -nE '(src|href)="?https?:|url\(.?https?:|import .*https?:' web/*; then
    wrong "another server is named"
fi
own=(web/docs.* web/yaml.js) # the contract's page; what it shares with the dashboard counts for both
bytes=$(ls web/* | grep -vxFf <(printf '%s\n' "${own[@]}") | xargs cat | wc -c)
[ "$bytes" -lt 100000 ] || wrong "the dashboard has $bytes bytes; it may have 100,000"
bytes=$(cat "${own[@]}" web/dom.js web/style.css web/icon.svg openapi/openapi.yaml | wc -c)
[ "$bytes" -lt 120000 ] || wrong "the contract's page has $bytes bytes with the contract; it may have 120,000"
exit "$broken"
