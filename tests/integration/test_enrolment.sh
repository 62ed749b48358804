#!/usr/bin/env bash
# From a code to a device that works: enrolment over TLS, codes used twice, guessed, raced for, and
# answers that were lost; an agent whose token ends, and that loses nothing.
source "$(dirname "$0")/auth.sh"

cert_make a
ca=(--ca "$work/a.pem")
operator=$(token add --role operator --name boss)
cloud_start --auth --tls-cert "$work/a.pem" --tls-key "$work/a.key"
as "$operator"
curl_ca=(--cacert "$work/a.pem")

enroll() { # DATA CODE OPTION...
    local data=$1 code=$2
    shift 2
    "$bin/cdcca-edge" enroll --cloud "$url" --code "$code" --data "$work/$data" "${ca[@]}" "$@" \
        >"$work/enroll.out" 2>"$work/enroll.log"
}
# enroll_fails WHAT STATUS PATTERN DATA CODE OPTION...
enroll_fails() {
    local what=$1 should=$2 pattern=$3 is=0
    shift 3
    enroll "$@" || is=$?
    expect "$what: exit status" "$is" "$should"
    grep -q -- "$pattern" "$work/enroll.log" || die "$what: said $(cat "$work/enroll.log")"
    [ ! -e "$work/$1/token" ] || die "$what: there is a token"
}
# post CODE [NONCE]: prints the status
post() {
    curl -sS "${curl_ca[@]}" -o "$work/answer" -D "$work/head" -w '%{http_code}' \
        -H 'Content-Type: application/json' -d "{\"code\": \"$1\"${2:+, \"nonce\": \"$2\"}}" "$url/enroll"
}

# --- a code becomes a token ---

first=$(code)
typed=$(tr 'A-Z-' 'a-z ' <<<"$first")
enroll_fails "no certificate to trust" 69 "certificate\|SSL" plain "$first" --ca /etc/hostname
enroll a "$typed" --device kiosk-7 || die "enroll: $(cat "$work/enroll.log")"
grep -q "enrolled as kiosk-7" "$work/enroll.out" || die "$(cat "$work/enroll.out")"
expect "the token's mode" "$(stat -c %a "$work/a/token")" 600
expect "the name" "$(cat "$work/a/device")" kiosk-7
expect "the root key" "$(cat "$work/a/root.pub")" "$(cat "$work/data/keys/root.pub")"
[ ! -e "$work/a/enroll-nonce" ] || die "the nonce is still there"
grep -rqF "$(cut -c7- "$work/a/token")" "$work/data" && die "the cloud's disk holds the token"
as "$(cat "$work/a/token")"
expect "with it" "$(get /model "${curl_ca[@]}" "${who[@]}")" 200
enroll_fails "the code again, by another" 77 "expired or used" b "$first"
enroll_fails "a name that is taken" 65 "has a token" b "$(code)" --device kiosk-7
enroll_fails "another's code" 77 "for device kiosk-8" b "$(code --device kiosk-8)" --device kiosk-9
enroll_fails "no code" 77 "no code" b hello
enroll b "$(code --device kiosk-8)" || die "enroll b: $(cat "$work/enroll.log")"
expect "the cloud's name for it" "$(cat "$work/b/device")" kiosk-8
short=$(code --ttl 1s)
sleep 1.2
enroll_fails "a code that has run out" 77 "expired" c "$short"

# --- the answer is lost: the device asks again by the nonce it had stored, nobody else can ---

lost=$(code)
mkdir -p "$work/d"
printf '%064d' 7 >"$work/d/enroll-nonce"
expect "the first answer" "$(post "$lost" "$(cat "$work/d/enroll-nonce")")" 201
gone=$(answer .token)
name=$(answer .device)
expect "somebody else" "$(post "$lost" "$(printf '%064d' 8)")" 403
enroll d "$lost" || die "the second try: $(cat "$work/enroll.log")"
expect "the same name" "$(cat "$work/d/device")" "$name"
as "$gone"
expect "the token that was lost" "$(get /model "${curl_ca[@]}" "${who[@]}")" 401
as "$(cat "$work/d/token")"
expect "the one that arrived" "$(get /model "${curl_ca[@]}" "${who[@]}")" 200

# --- eight at once: one gets it ---

race=$(code)
pids=()
for i in $(seq 8); do
    curl -sS "${curl_ca[@]}" -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' \
        -d "{\"code\": \"$race\"}" "$url/enroll" >"$work/race.$i" &
    pids+=("$!")
done
wait "${pids[@]}"
expect "winners" "$(cat "$work"/race.* | grep -c '^201$')" 1
expect "losers" "$(cat "$work"/race.* | grep -cE '^(403|429)$')" 7

# --- guessing ends soon, other calls go on ---

is=''
for _ in $(seq 12); do
    is=$(post 00000-00000-00000-00000)
    [ "$is" = 403 ] || break
done
expect "many guesses" "$is" 429
[ "$(header Retry-After)" -ge 1 ] || die "Retry-After: $(header Retry-After)"
[[ $(answer .detail) == *"wrong codes"* ]] || die "$(answer .detail)"
cloud_stop
cloud_start --auth --tls-cert "$work/a.pem" --tls-key "$work/a.key"

# --- an agent with its token; then without: it answers on, waits and loses nothing ---

edge a "${ca[@]}" --source world:source --count 20 --window 20 --budget 0.5 || die "the agent"
expect "uploaded" "$(status a uploaded)" 10
as "$operator"
get /tokens "${curl_ca[@]}" "${who[@]}" >/dev/null
expect "by" "$(answer '.uploads[0].device')" kiosk-7

token revoke kiosk-7
edge_start a "${ca[@]}" --source world:source --count 1000000 --rate 200 --window 20 --budget 0.5
until_true "it is turned away" status_is a cloud refused
until_true "it says so" logged "does not let this device.*401"
spooled() { [ "$(status a spool_files)" -ge 2 ]; }
until_true "uploads wait" spooled
expect "rejected" "$(status a rejected)" 0
"$bin/cdcca-cloud" keys init --dir "$work/others" >/dev/null || die "other keys"
cp "$work/others/root.pub" "$work/a/root.pub"
enroll a "$(code --device kiosk-7)" || die "enrolling again: $(cat "$work/enroll.log")"
grep -q "another root key" "$work/enroll.log" || die "another root key, and no word about it"
expect "the root key that stays" "$(cat "$work/a/root.pub")" "$(cat "$work/others/root.pub")"
cp "$work/data/keys/root.pub" "$work/a/root.pub" # it may have begun with this one by now
caught_up() { [ "$(status a uploaded)" -ge 40 ]; }
until_true "it goes on with the new token" caught_up
kill -TERM "$edge_pid"
edge_end "after SIGTERM"
expect "rejected in the end" "$(status a rejected)" 0

# --- a device under another's name: refused, and kept ---

edge_start a "${ca[@]}" --device kiosk-8 --source world:target --count 1000000 --rate 200 --window 20 --budget 0.5
until_true "it is turned away" status_is a cloud refused
until_true "it is told why" logged "403.*kiosk-7.*kiosk-8"
kill -TERM "$edge_pid"
edge_end "after SIGTERM"
expect "rejected" "$(status a rejected)" 0
[ "$(status a spool_files)" -ge 1 ] || die "an upload is gone"
cloud_stop
passed
