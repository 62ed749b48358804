#!/usr/bin/env bash
# test_edge_contract.sh: openapi/edge.yaml and `cdcca-edge serve` name the same routes, and the same
# fields of a chat request.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
contract=openapi/edge.yaml

differ() { # WHAT A B
    [ "$2" = "$3" ] && return 0
    echo "$1 differ (contract <, program >):"
    diff <(echo "$2") <(echo "$3")
    exit 1
}

differ "routes" \
    "$(awk '/^paths:/{on=1} /^components:/{on=0} on && /^  \//{path=$1; sub(/:$/, "", path)}
        on && /^    (get|post|put|delete):/{m=$1; sub(/:$/, "", m); print toupper(m), path}' $contract | sort)" \
    "$(sed -n 's/^    {"\([A-Z]*\)", "\([^"]*\)", .*_\(get\|post\),.*/\1 \2/p' client/serve_routes.c | sort)"
differ "fields of a chat request" \
    "$(awk '/^    ChatRequest:/{on=1} /^    ChatCompletion:/{on=0} on && /^        [a-z_]+:/{
        name=$1; sub(/:$/, "", name); print name}' $contract | sort)" \
    "$(sed -n 's/^    {"\([a-z_]*\)", [a-z_]*_read},$/\1/p' client/chat_request.c | sort)"
