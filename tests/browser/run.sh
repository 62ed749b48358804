#!/usr/bin/env bash
# run.sh BIN [SHOTS]: the browser tests, with Debian's chromium; their two packages go into
# BIN/browser. Exit 77, with a word, where they cannot run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(readlink -f "$1")
shots=${2:-}

skip() {
    echo "skipped: $*"
    exit 77
}

for program in chromium node npm; do
    command -v "$program" >/dev/null || skip "no $program; ./quickstart test installs it"
done
for script in "$here"/../../web/*.js; do node --check "$script"; done
mkdir -p "$bin/browser" ${shots:+"$shots"}
if ! cmp -s "$here/package-lock.json" "$bin/browser/installed"; then
    cp "$here/package.json" "$here/package-lock.json" "$bin/browser/"
    npm ci --prefix "$bin/browser" --ignore-scripts --no-audit --no-fund >"$bin/browser/npm.log" 2>&1 ||
        skip "npm ci failed: $(tail -n 1 "$bin/browser/npm.log")"
    cp "$here/package-lock.json" "$bin/browser/installed"
fi
exec node "$here/run.mjs" "$bin" "$bin/browser" ${shots:+"$(readlink -f "$shots")"}
