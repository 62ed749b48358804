#!/usr/bin/env bash
# kill_cloud.sh BIN_DIR [KILLS]: kill -9 of the cloud at random points under load, 20 times by
# default: uploads, deletions, device reports and rounds at once. After each restart every
# acknowledged upload is there, once; in the end every round used each upload once.
source "$(dirname "$0")/../integration/cloud.sh"
kills=${2:-20}
seed=${CDCCA_SEED:-$$}
RANDOM=$seed
echo "seed $seed"

# post FILE OPTION...: the status; the answer is in FILE.answer
post() {
    local file=$1
    shift
    curl -sS -m 10 -o "$file.answer" -w '%{http_code}' -H 'Content-Type: application/json' "$@" \
        --data-binary "@$file" "$url/tokens" 2>/dev/null
}

# uploads until the cloud is gone; what was acknowledged goes into $work/acknowledged, every fifth is
# deleted again: an answered deletion holds, one that is cut off may have happened
loader() { # NAME
    local n=0 file=$work/load-$1 sha id
    while :; do
        n=$((n + 1))
        sed "s/\"q1-/\"$1-$n-/g" "$work/base" >"$file"
        case $(post "$file" -H "Idempotency-Key: $1-$n") in 200 | 201) ;; *) return 0 ;; esac
        read -r id sha < <(jq -r '"\(.id) \(.sha256)"' "$file.answer")
        echo "$sha" >>"$work/acknowledged"
        curl -sS -m 10 -o /dev/null "$url/deltas?after=0&device=$1" 2>/dev/null || return 0
        [ $((n % 5)) = 0 ] || continue
        case $(curl -sS -m 10 -o /dev/null -w '%{http_code}' -X DELETE "$url/tokens/$id" 2>/dev/null) in
        204) echo "$sha" >>"$work/deleted" ;;
        409) ;;
        *) echo "$sha" >>"$work/maybe" && return 0 ;;
        esac
    done
}

stored() { # every stored upload's hash
    local after=0 next
    while :; do
        curl -sS "$url/tokens?after=$after" >"$work/page"
        jq -r '.uploads[].sha256' "$work/page"
        next=$(jq -r '.next // empty' "$work/page")
        [ -n "$next" ] || return 0
        after=$next
    done
}

check() {
    local lost
    stored | sort >"$work/stored"
    expect "uploads stored twice" "$(uniq -d "$work/stored" | wc -l)" 0
    sort -u "$work/acknowledged" >"$work/want"
    sort -u "$work/deleted" "$work/maybe" >"$work/gone"
    lost=$(comm -23 "$work/want" "$work/gone" | comm -23 - "$work/stored" | wc -l)
    expect "acknowledged uploads lost" "$lost" 0
    expect "deleted uploads that came back" "$(sort -u "$work/deleted" | comm -12 - "$work/stored" | wc -l)" 0
    "$bin/stored_uploads" "$work/data" | sort | cmp -s - "$work/stored" || die "bytes are lost, or not what their name says"
}

# a kill does not lose what was written, synced or not, so the data may lie in memory
if ram=$(mktemp -d /dev/shm/cdcca-cloud-XXXXXX 2>/dev/null); then
    ln -s "$ram" "$work/data"
    trap 'cleanup; rm -rf "$ram"' EXIT
fi
payload 1 2 json >"$work/base"
touch "$work/acknowledged" "$work/deleted" "$work/maybe"
for kill in $(seq "$kills"); do
    cloud_start --round-uploads 60
    check
    loaders=()
    for name in a b; do
        loader "$name$kill" &
        loaders+=($!)
    done
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    cloud_kill
    wait "${loaders[@]}" || true
done

cloud_start
check
for _ in $(seq 600); do
    get '/distill?limit=1' >/dev/null
    case $(answer '.rounds[0].state // "none"') in queued | running) sleep 0.1 ;; *) break ;; esac
done
# what a round used is still counted in it, and no upload is in two
curl -sS "$url/distill?limit=100" | jq -r '.rounds[] | select(.state != "cancelled") | .id' |
    while read -r round; do curl -sS "$url/distill/$round" | jq -r '.upload_ids[]'; done | sort >"$work/used"
expect "uploads used twice" "$(uniq -d "$work/used" | wc -l)" 0
curl -sS "$url/distill?limit=100" | jq -r '.rounds[] | select(.state == "released") | .version' |
    sort | uniq -d >"$work/twice"
expect "versions released twice" "$(wc -l <"$work/twice")" 0
echo "$kills kills: $(wc -l <"$work/want") uploads acknowledged, 0 lost, 0 twice; $(wc -l <"$work/used") used by rounds, each once"
cloud_stop
