#!/usr/bin/env bash
# OpenAI's own client (npm `openai`, pinned in tests/clients) works with cdcca-edge serve unchanged:
# answers, streams, log-probabilities, models, errors. Skipped where there is no npm, or no way to
# the package.
command -v npm >/dev/null && command -v node >/dev/null || {
    echo "skipped: no npm" >&2
    exit 77
}
source "$(dirname "$0")/serve.sh"

mkdir "$work/clients"
cp "$here/../clients/"* "$work/clients/"
(cd "$work/clients" && npm ci --no-audit --no-fund --ignore-scripts) >"$work/npm" 2>&1 || {
    echo "skipped: npm ci failed: $(tail -n 3 "$work/npm")" >&2
    exit 77
}
serve_start --model "$work/student" --data "$work/a"
id=$(node "$work/clients/openai.mjs" "$base" "$work/scene.png") || die "openai.mjs"
expect "a correction" "$(post /feedback "$(jq -n -c --arg id "$id" '{id: $id, correction: "red"}')")" 200
serve_stop
[ "$(status a spool_files)" -ge 1 ] || die "the correction is not in the spool"
passed
