#!/usr/bin/env bash
# alloc_service.sh BIN [MOST]: tiny models and uploads, then alloc_service on them.
set -euo pipefail
bin=$(readlink -f "$1")
work=$(mktemp -d /tmp/cdcca-alloc-XXXXXX)
trap 'rm -rf "$work"' EXIT
"$bin/make_tiny" "$work"
DEVICE=alloc-00000 "$bin/make_payload" "$work/student" 1 2 >"$work/upload.safetensors"
DEVICE=alloc-00000 "$bin/make_payload" "$work/student" 2 2 json >"$work/upload.json"
"$bin/tests/fault/alloc_service" "$work" "${2:-100}"
