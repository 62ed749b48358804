#!/usr/bin/env bash
# test_contract_kept.sh BUILD: the contracts are lint-free and full of examples; openapi.yaml breaks nothing
# that was released, and a running cloud keeps it (contract.mjs).
"$(dirname "$0")/install.sh" || exit $?
source "$(dirname "$0")/../integration/cloud.sh"
cd "$(dirname "$(readlink -f "$0")")"
contract=../../openapi/openapi.yaml

REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx redocly lint \
    --config ../../openapi/redocly.yaml "$contract" ../../openapi/edge.yaml >"$work/answer" 2>&1 ||
    die "$(cat "$work/answer")"
! grep -q 'warning' "$work/answer" || die "$(cat "$work/answer")"
for released in ../../openapi/released/*.yaml; do
    node breaking.mjs "$released" "$contract" || die "clients of $released would break"
done
node examples.mjs "$contract" ../../openapi/edge.yaml || die "not each operation shows what it takes and gives"
node yaml_test.mjs "$contract" || die "the page at /docs would read the contract otherwise"
node breaking_test.mjs ../../openapi/openapi.yaml || die "the checker misses a break"

# The witness of the integration tests says what is right, and what a contract that says otherwise does
# not allow.
cloud_start --auth
echo "$port" >"$work/upstream"
sed 's/{const: ok}/{const: fine}/' "$contract" >"$work/other.yaml"
for file in "$contract" "$work/other.yaml"; do
    node witness.mjs "$file" "$work/upstream" "$work/seen" >"$work/witness" &
    for _ in $(seq 300); do [ -s "$work/witness" ] || sleep 0.1; done
    curl -sS "http://127.0.0.1:$(cat "$work/witness")/healthz" -H 'Expect: 100-continue' >"$work/answer"
    kill $!
    wait $! || true
    rm "$work/witness"
done
expect "what the witness says of both" "$(cut -c 1-21 "$work/seen" | tr '\n' ' ')" "ok getHealth 200 FAIL GET /healthz 200 "
cloud_stop

cloud_start --auth
for role in operator viewer; do
    "$bin/cdcca-cloud" token add --role $role --name $role --data "$work/data" >"$work/$role"
done
"$bin/cdcca-cloud" token add --role device --name other --data "$work/data" >"$work/device"
"$bin/cdcca-cloud" enroll-code --data "$work/data" >"$work/code"
payload 1 16 >"$work/a"
payload 2 16 >"$work/b"
payload 3 4 json >"$work/json"
node contract.mjs "$contract" "$url" "$work" || die "the cloud does not keep the contract"
cloud_stop
