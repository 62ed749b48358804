#!/usr/bin/env bash
# A backup of a running cloud under load: what it holds serves the same releases and every upload that
# was acknowledged before it began; a round goes on from it; and what it refuses.
source "$(dirname "$0")/cloud.sh"

# tool COMMAND OPTION...: its exit status; its words in $work/answer
tool() {
    local code=0
    "$bin/cdcca-cloud" "$@" >"$work/answer" 2>&1 || code=$?
    echo "$code"
}

cloud_start
quick='{"holdout":0,"steps":10,"batch":8}'
for seed in $(seq 1 60); do
    payload "$seed" 4 >"$work/up-$seed"
done
for round in 1 2; do
    for seed in $(seq $((round * 10 - 9)) $((round * 10))); do
        expect "upload $seed" "$(upload "$work/up-$seed")" 201
    done
    expect "round $round" "$(round_wait "$(distill "$quick")")" released
done

# load: uploads, deletions of some of them, and a round meanwhile
(
    for seed in $(seq 21 60); do
        curl -sSf -H 'Content-Type: application/x-safetensors' --data-binary "@$work/up-$seed" \
            -o "$work/load-answer" "$url/tokens" || exit 1
        echo "$seed" >>"$work/acknowledged"
        if [ $((seed % 10)) = 0 ]; then
            id=$(jq .id "$work/load-answer")
            curl -sS -X DELETE "$url/tokens/$id" && echo "$seed" >>"$work/deleted"
        fi
    done
) &
load=$!
touch "$work/acknowledged" "$work/deleted"
while [ "$(wc -l <"$work/acknowledged")" -lt 3 ]; do sleep 0.05; done
cp "$work/acknowledged" "$work/before"
for copy in 1 2; do
    expect "backup $copy" "$(tool backup --data "$work/data" --to "$work/copy-$copy")" 0
done
wait "$load" || die "the load had an upload refused"
curl -sS "$url/deltas" >"$work/deltas"
version_hash=$(curl -sS "$url/model" | jq -r .sha256)
expect "no one else may read it" "$(find "$work/copy-1" -perm /077 | wc -l)" 0
cloud_stop

# each of them, restored
source_data=$work/data
for copy in 1 2; do
    rm -rf "$work/data"
    expect "restore $copy" "$(tool restore --from "$work/copy-$copy" --data "$work/data")" 0
    cloud_start
    curl -sS "$url/deltas" | cmp - "$work/deltas" || die "copy $copy has other releases"
    for version in 1 2; do
        curl -sS "$url/deltas/$version" | sha256sum | cut -c1-64 >"$work/answer"
        expect "patch $version" "$(cat "$work/answer")" "$(jq -r ".deltas[$version - 1].sha256" "$work/deltas")"
    done
    expect "the version's hash" "$(curl -sS "$url/model" | jq -r .sha256)" "$version_hash"
    ! grep -q 'applying every delta' "$work/cloud.log" || die "copy $copy has no state"
    curl -sS "$url/tokens" | jq -r '.uploads[].sha256' >"$work/stored"
    while read -r seed; do
        grep -qx "$seed" "$work/deleted" && continue
        grep -q "$(sha256sum "$work/up-$seed" | cut -c1-64)" "$work/stored" || die "copy $copy lost upload $seed"
    done <"$work/before"
    [ "$copy" = 1 ] || expect "the next round" "$(round_wait "$(distill "$quick")")" released
    cloud_stop
done

# what is refused
expect "a target that is not empty" "$(tool restore --from "$work/copy-1" --data "$source_data")" 65
grep -q 'not empty' "$work/answer" || die "no word of it"
expect "the same of a backup" "$(tool backup --data "$source_data" --to "$work/copy-1")" 65
expect "nothing to copy" "$(tool backup --data "$work/none" --to "$work/copy-9")" 66
expect "no target" "$(tool backup --data "$source_data")" 2
file=$(find "$work/copy-1/patches" -type f | head -n 1)
printf x | dd of="$file" bs=1 seek=20 conv=notrunc status=none
expect "a damaged patch" "$(tool restore --from "$work/copy-1" --data "$work/new")" 65
[ ! -e "$work/new" ] && [ ! -e "$work/new.partial" ] || die "a failed restore left something"
rm "$file"
expect "a missing patch" "$(tool restore --from "$work/copy-1" --data "$work/new")" 65
# some of the database's bytes, which only uploads can be
at=$(grep -abo '__metadata__' "$work/copy-2/cloud.db" | head -n 1 | cut -d: -f1)
printf x | dd of="$work/copy-2/cloud.db" bs=1 seek="$at" conv=notrunc status=none
expect "a damaged upload" "$(tool restore --from "$work/copy-2" --data "$work/new")" 65
grep -q 'bytes of upload' "$work/answer" || die "no word of it: $(cat "$work/answer")"
