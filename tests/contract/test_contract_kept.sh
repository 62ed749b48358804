#!/usr/bin/env bash
# test_contract_kept.sh BUILD: openapi/openapi.yaml is lint-free, breaks nothing that was released, and a
# running cloud keeps it (contract.mjs).
cd "$(dirname "$(readlink -f "$0")")"
./install.sh || exit $?
source ../integration/cloud.sh
contract=../../openapi/openapi.yaml

REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx redocly lint \
    --config ../../openapi/redocly.yaml "$contract" >"$work/answer" 2>&1 || die "$(cat "$work/answer")"
! grep -q 'warning' "$work/answer" || die "$(cat "$work/answer")"
for released in ../../openapi/released/*.yaml; do
    node breaking.mjs "$released" "$contract" || die "clients of $released would break"
done
node breaking_test.mjs ../../openapi/openapi.yaml || die "the checker misses a break"

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
