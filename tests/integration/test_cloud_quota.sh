#!/usr/bin/env bash
# A device's day: over its bytes it is told when to come again, also after a restart; others are not
# held up, and what was stored already costs nothing.
source "$(dirname "$0")/auth.sh"

upload_as() { # DEVICE SEED
    DEVICE=$1 payload "$2" 4 >"$work/upload"
    upload "$work/upload" -D "$work/head"
}

DEVICE=a payload 1 4 >"$work/one"
bytes=$(stat -c %s "$work/one")
cloud_start --device-bytes-per-day $((3 * bytes))
for seed in 1 2 3; do
    expect "upload $seed" "$(upload_as a "$seed")" 201
    expect "the same again, $seed" "$(upload "$work/upload")" 200
done
is=$(upload_as a 4)
[ "$is" = 429 ] || is=$(upload_as a 5) # sizes differ by a few bytes
expect "over the quota" "$is" 429
wait_s=$(header Retry-After)
[ "$wait_s" -ge 1 ] && [ "$wait_s" -le 86400 ] || die "Retry-After: $wait_s"
[[ $(answer .detail) == *"device a "*"try again in"* ]] || die "$(answer .detail)"
expect "another device" "$(upload_as b 6)" 201
cloud_kill
cloud_start --device-bytes-per-day $((3 * bytes))
expect "after a restart" "$(upload_as a 7)" 429
expect "another device after a restart" "$(upload_as b 8)" 201
cloud_stop
cloud_start --device-bytes-per-day $((100 * bytes))
expect "with a larger quota" "$(upload_as a 7)" 201
cloud_stop

# --- a device with a token is told before it sends its body ---

device=$(token add --role device --name a)
cloud_start --auth --device-bytes-per-day 1
as "$device"
is=$(curl -sS -o "$work/answer" -w '%{http_code} %{size_upload}' -D "$work/head" "${who[@]}" \
    -H 'Expect: 100-continue' --expect100-timeout 60 -H 'Content-Type: application/x-safetensors' \
    --data-binary "@$work/one" "$url/tokens")
expect "the status, and bytes sent" "$is" "429 0"
[ "$(header Retry-After)" -gt 3600 ] || die "Retry-After: $(header Retry-After)"
cloud_stop
passed
