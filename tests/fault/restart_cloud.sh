#!/usr/bin/env bash
# restart_cloud.sh BIN_DIR [UPLOADS [BYTES]]: how long a start takes with that many stored uploads
# (10,000 by default), from the process to the first answer. Prints the time; asserts that everything
# is there.
source "$(dirname "$0")/../integration/cloud.sh"
uploads=${2:-10000}
mkdir "$work/data"
"$bin/make_store" "$work/data" "$uploads" "${3:-64}"
before=$(date +%s%N)
cloud_start
expect "GET /healthz" "$(get /healthz)" 200
after=$(date +%s%N)
echo "$uploads uploads stored: ready after $(((after - before) / 1000000)) ms"
expect "the last one" "$(get "/tokens?after=$((uploads - 1))")" 200
expect "it" "$(answer '.uploads | length')" 1
payload 1 1 >"$work/up"
expect "an upload" "$(upload "$work/up")" 201
expect "kept" "$("$bin/stored_uploads" "$work/data" | wc -l)" "$((uploads + 1))"
cloud_stop
