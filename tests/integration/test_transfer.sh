#!/usr/bin/env bash
# test_transfer.sh BUILD: the bench over a shaped link runs from its first line to its last: a real
# upload and a real delta at each rate, beside what table 5 computes. Needs root and namespaces.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
rows=$(tests/bench/transfer.sh --bin "$1" --window 100 --rounds 1)
jq -e '(.rows | length == 6) and all(.rows[]; .bytes > 0 and .measured_seconds > 0 and .computed_seconds > 0)' \
    <<<"$rows" >/dev/null || {
    echo "FAIL: $rows" >&2
    exit 1
}
