#!/usr/bin/env bash
# The loop over real HTTP: two rounds with the edge and the cloud each killed once in the middle of
# one, ending with the same parameters to the bit and every upload there exactly once. Then patches
# that were altered or cut short at the cloud: refused, and nothing changes.
source "$(dirname "$0")/edge.sh"
lockstep=(--source world:drift --segment 200 --lockstep --rounds 2 --json --seed 3) # random models: a seed whose two rounds pass the gate

# --- two rounds, with a kill -9 on each side ---

cloud_start
edge_start edge "${lockstep[@]}"
until_true "the first round begins" round_state_is running
edge_kill
edge_start edge "${lockstep[@]}"
until_true "the second round begins" status_is edge segment 1
until_true "the second round runs" round_state_is running
cloud_kill
until_true "the edge says that the cloud is away" logged "trying again"
cloud_start --listen "127.0.0.1:$port"
edge_end "two rounds"
same_parameters edge 2
expect "rounds told" "$(jq -s 'map(.round) | tostring' "$work/lines")" '"[1,2]"'
expect "versions told" "$(jq -s 'map(.version) | tostring' "$work/lines")" '"[1,2]"'
expect "deltas told" "$(jq -s 'all(.delta_bytes > 0)' "$work/lines")" true
expect "seen" "$(status edge seen)" 400
expect "sampled" "$(status edge sampled)" 40
expect "uploaded" "$(status edge uploaded)" 40
expect "uploads at the cloud" "$(curl -sS "$url/tokens" | jq '.uploads // .tokens | length')" 2
expect "left in the spool" "$(status edge spool_files)" 0

# --- a further start has nothing to do ---

edge edge "${lockstep[@]}" || die "a start after the end"
expect "seen after a further start" "$(status edge seen)" 400

# --- ask answers with the agent's version ---

"$bin/cdcca-model" generate-world world:target --count 1 --out "$work/world" >"$work/answer" 2>&1
"$bin/cdcca-edge" ask --model "$work/student" --data "$work/edge" --json \
    --image "$(find "$work/world" -name '*.png')" "is there a star?" >"$work/answer" || die "ask"
expect "the version that answers" "$(answer .version)" 2
expect "its parameters" "$(answer .sha256)" "$(status edge sha256)"

# --- patches that are not what the manifest says ---

patch=$work/data/patches/$(manifest 1 .patch.sha256)
later=$work/data/patches/$(manifest 2 .patch.sha256)
cp "$patch" "$work/patch"
factory=$(curl -sS "$url/model" | jq -r .factory_sha256)
follow=(--source world:target --count 20 --rounds 2)

refused() { # WHAT: the patch on disk, an edge that meets it, and what it says
    : >"$work/edge.log"
    edge_start other "${follow[@]}"
    until_true "$1 refused" logged "version 1 refused, version 0 stays"
    kill -TERM "$edge_pid"
    edge_end "after $1"
    expect "parameters after $1" "$(status other sha256)" "$factory"
}
printf '\125' | dd of="$patch" bs=1 seek=100 conv=notrunc status=none
refused "an altered patch"
head -c 300 "$work/patch" >"$patch"
refused "a patch cut short"
cp "$later" "$patch"
refused "another version's patch"

cp "$work/patch" "$patch"
edge other "${follow[@]}" || die "the whole patch is not taken"
same_parameters other 2
passed
