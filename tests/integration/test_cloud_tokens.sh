#!/usr/bin/env bash
# POST /tokens against tests/data/tokens: each folder holds a body, what is expected of the answer
# ("STATUS TEXT": the text is part of it), and perhaps a header line and how often the body repeats.
# @ENCODER@ in a body becomes the tiny student's fingerprint. Then what only a sequence shows.
source "$(dirname "$0")/cloud.sh"
cloud_start
get /model >/dev/null
encoder=$(answer .encoder)

run_case() { # FOLDER
    local dir=$1 body=$work/body header='Content-Type: application/json' status text is
    if [ -f "$dir/repeat" ]; then
        head -c "$(cat "$dir/repeat")" /dev/zero | tr '\0' "$(cat "$dir/body")" >"$body"
    else
        sed "s/@ENCODER@/$encoder/" "$dir/body" >"$body"
    fi
    read -r status text <"$dir/expect"
    local headers=(-H "$header")
    if [ -f "$dir/header" ]; then
        case $(cat "$dir/header") in
        Content-Type*) headers=(-H "$(cat "$dir/header")") ;;
        *) headers+=(-H "$(cat "$dir/header")") ;;
        esac
    fi
    is=$(curl -sS -o "$work/answer" -w '%{http_code}' "${headers[@]}" --data-binary "@$body" \
        "$url/tokens")
    expect "${dir##*/}" "$is" "$status"
    grep -qF -- "$text" "$work/answer" ||
        die "${dir##*/}: \"$text\" is not in $(head -c 400 "$work/answer")"
    case $status in
    2*) curl -sS -X DELETE "$url$(answer '"/tokens/\(.id)"')" ;;
    *)
        expect "${dir##*/}: .status" "$(answer .status)" "$status"
        expect "${dir##*/}: uploads" "$(curl -sS "$url/tokens" | jq '.uploads | length')" 0
        ;;
    esac
}

for dir in "$here"/../data/tokens/*/; do
    run_case "${dir%/}"
done

payload 1 4 >"$work/a"
payload 2 4 >"$work/b"
expect "an upload" "$(upload "$work/a" -H 'Idempotency-Key: k1')" 201
id=$(answer .id)
expect "the same again" "$(upload "$work/a" -H 'Idempotency-Key: k1')" 200
expect "its id" "$(answer .id)" "$id"
expect "the same key, other content" "$(upload "$work/b" -H 'Idempotency-Key: k1')" 409
expect "another key" "$(upload "$work/b" -H 'Idempotency-Key: k2')" 201

payload 2 4 json >"$work/json"
expect "the same as JSON" "$(form=json upload "$work/json")" 200
kept "$work/a" || die "the bytes that are stored differ"
curl -fsS -D "$work/head" -o "$work/content" "$url/tokens/$id/payload" && cmp "$work/content" "$work/a" ||
    die "GET /tokens/$id/payload gives something else"
tag=$(sed -n 's/^ETag: *\(".*"\).*/\1/p' "$work/head")
expect "unchanged" "$(get "/tokens/$id/payload" -H "If-None-Match: $tag")" 304
expect "none such" "$(get /tokens/999/payload)" 404

STRETCH=2 payload 4 4 >"$work/far"
expect "tokens that no image gives" "$(upload "$work/far")" 422
grep -qF "no image gives it" "$work/answer" || die "$(cat "$work/answer")"
STRETCH=0.5 payload 5 4 >"$work/near"
expect "tokens that one might" "$(upload "$work/near")" 201

if command -v zstd >/dev/null; then
    payload 3 4 | zstd -q >"$work/z"
    expect "zstd" "$(upload "$work/z" -H 'Content-Encoding: zstd')" 201
    head -c 100000000 /dev/zero | zstd -q >"$work/bomb"
    expect "a bomb" "$(upload "$work/bomb" -H 'Content-Encoding: zstd')" 413
fi
head -c 9000000 /dev/zero >"$work/big"
expect "9 MB" "$(upload "$work/big")" 413
expect "9 MB, chunked" "$(upload "$work/big" -H 'Transfer-Encoding: chunked' || true)" 413

DEVICE=other ENCODER=$(printf 'a%.0s' {1..64}) payload 4 1 >"$work/other"
expect "another encoder" "$(upload "$work/other")" 422
for cut in 0 1 7 8 9 100 1000; do
    head -c "$cut" "$work/a" >"$work/cut"
    expect "cut to $cut bytes" "$(upload "$work/cut")" 422
done

expect "GET" "$(get "/tokens?after=0&limit=1")" 200
expect "a page" "$(answer '.uploads | length')" 1
expect "the next page" "$(get "/tokens?after=$(answer .next)&limit=1")" 200
expect "limit=0" "$(get '/tokens?limit=0')" 400
expect "limit=1e3" "$(get '/tokens?limit=1e3')" 400
expect "unknown parameter" "$(get '/tokens?page=1')" 400
for bad in 0 -1 01 1x 99999999999999999999 0x1; do
    expect "GET /tokens/$bad" "$(get "/tokens/$bad")" 404
done
expect "DELETE" "$(get "/tokens/$id" -X DELETE)" 204
expect "GET after it" "$(get "/tokens/$id")" 404
expect "DELETE again" "$(get "/tokens/$id" -X DELETE)" 404
! kept "$work/a" || die "its bytes are still there"
expect "again after DELETE" "$(upload "$work/a" -H 'Idempotency-Key: k1')" 201
expect "PUT" "$(get /tokens -X PUT)" 405
cloud_stop
