#!/usr/bin/env bash
# test_edge_kept.sh BUILD: a running `cdcca-edge serve` keeps openapi/edge.yaml (edge.mjs).
"$(dirname "$0")/install.sh" || exit $?
source "$(dirname "$0")/../integration/serve.sh"
cd "$(dirname "$(readlink -f "$0")")"

serve_start --model "$work/student" --data "$work/a"
node edge.mjs ../../openapi/edge.yaml "${base%/v1}" "$work/scene.png" || die "serve does not keep the contract"
serve_stop
passed
