#!/usr/bin/env bash
# test_demo.sh BUILD: two small rounds of the real loop with the built-in models. Holds that the
# student's held-out accuracy rises by more than its noise, that the source is kept, that the
# upload budget is, and that both sides end with the same parameters.
set -euo pipefail
export CDCCA_BIN=$1 CDCCA_DEMO_TARGET=1200 CDCCA_DEMO_SOURCE=600
cd "$(dirname "$(readlink -f "$0")")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

demo/demo.sh --rounds 2 --port 18431 --data "$work" --report "$work/report.json"

# A difference of two accuracies on the same n samples has a standard error of at most
# 100 sqrt(2 p (1 - p) / n) points; asked for: two of them.
count=$(jq .five.count "$work/seed-1/source_only.json.target")
jq -e --argjson n "$count" '
    def noise($p): 100 * ((2 * $p * (1 - $p) / $n) | sqrt);
    def holds($what; condition): if condition then . else error($what) end;
    .seeds[0]
    | .source_only as $before | .rounds[-1] as $after
    | holds("target MC rises by more than its noise";
            $after.target.mc - $before.target.mc > 2 * noise($before.target.mc / 100))
    | holds("target DA rises by more than its noise";
            $after.target.da - $before.target.da > 2 * noise($before.target.da / 100))
    | holds("source MC is kept within noise"; $before.source.mc - $after.source.mc < 4)
    | holds("no more than a tenth is uploaded";
            all(.rounds[]; .instances_uploaded * 10 <= .instances_seen))
    | holds("edge and cloud are identical"; .identical)
    | true' "$work/report.json"
