#!/usr/bin/env bash
# Signed releases over real sockets. A cloud that signs and an edge that takes; what someone with the
# cloud's disk, or in the cloud's place, can do; keys that are exchanged while both run; manifests
# that expire and are signed anew; and a release key that is kept apart from the service.
source "$(dirname "$0")/edge.sh"
quick='{"holdout":0,"steps":20,"batch":8}'
keys=$work/data/keys
follow=(--source world:target --count 20 --budget 0)

# release SEED: one round from new uploads; the base is the newest version
release() {
    local version
    version=$(curl -sS "$url/model" | jq .version)
    BASE=$version payload "$1" 16 >"$work/upload"
    expect "upload $1" "$(upload "$work/upload")" 201
    expect "round for upload $1" "$(round_wait "$(distill "$quick")")" released
}

# in_db SQL, on the cloud's disk while it is stopped
in_db() { sqlite3 "$work/data/cloud.db" "$1"; }
have_sqlite() { command -v sqlite3 >/dev/null; }

# alarmed DATA PATTERN: the edge's alarm says so
alarmed() { status "$1" alarm | grep -q -- "$2"; }

# refuses DATA PATTERN: an edge that meets the cloud as it is now raises this alarm and stays
refuses() {
    local before
    before=$(status "$1" version)
    edge_start "$1" "${follow[@]}" --rounds 9
    until_true "an alarm: $2" alarmed "$1" "$2"
    kill -TERM "$edge_pid"
    edge_end "after the alarm: $2"
    expect "the version after the alarm: $2" "$(status "$1" version)" "$before"
}

# takes DATA VERSION: an edge goes to that version without an alarm
takes() {
    edge "$1" "${follow[@]}" --rounds "$2" || die "version $2 is not taken"
    expect "the version" "$(status "$1" version)" "$2"
    expect "the alarm" "$(status "$1" alarm)" ""
}

floor() { jq .sequence "$work/$1/trust.json"; }

# --- keys are there by themselves; an edge on loopback needs nothing ---

cloud_start
for file in root.key release.key; do
    expect "the mode of $file" "$(stat -c %a "$keys/$file")" 600
done
grep -q "cdcca-ed25519-public/1" "$keys/root.pub" || die "no public root key"
release 1
takes a 1
expect "the floor" "$(floor a)" 1
logged "first one seen, on loopback" || die "a first use went untold"
expect "GET /keys" "$(get /keys)" 200
expect "its version" "$(answer '.payload | @base64d | fromjson | .version')" 1
expect "GET /keys/1" "$(get /keys/1)" 200
for bad in 0 2 01 -1 x; do
    expect "GET /keys/$bad" "$(get "/keys/$bad")" 404
done
expect "nothing waits" "$(curl -sS "$url/unsigned" | jq '.unsigned | length')" 0

# --- an edge that was given another root key, or none off loopback ---

"$bin/cdcca-cloud" keys init --dir "$work/other-keys" >/dev/null
edge_start stranger "${follow[@]}" --rounds 9 --trust "$work/other-keys/root.pub"
until_true "a wrong root is refused" alarmed stranger "none of the cloud's key documents"
kill -TERM "$edge_pid"
edge_end "with a wrong root"
expect "its version" "$(status stranger version)" 0
expect "an edge without trust" "$("$bin/cdcca-edge" run --cloud http://192.0.2.1 --data "$work/far" \
    --model "$work/student" "${follow[@]}" 2>&1 | grep -c -- '--trust FILE')" 1
"$bin/cdcca-edge" run --cloud "$url" --model "$work/student" --data "$work/given" --poll 2 \
    "${follow[@]}" --rounds 1 --trust "$keys/root.pub" 2>>"$work/edge.log" >>"$work/lines" ||
    die "with the right root"
expect "its version" "$(status given version)" 1

# --- someone with the cloud's disk ---

release 2
cloud_stop
if have_sqlite; then
    cp "$work/data/cloud.db" "$work/whole.db"
    # restore: the cloud's disk as it was
    restore() {
        rm -f "$work"/data/cloud.db-*
        cp "$work/whole.db" "$work/data/cloud.db"
    }
    tamper() { # SQL
        restore
        in_db "$1"
        cloud_start --listen "127.0.0.1:$port"
    }
    old=$(in_db "select envelope from envelopes where version=1")
    mine=$(in_db "select envelope from envelopes where version=2" |
        jq -c '.signatures=[]' | "$bin/cdcca-cloud" sign --key "$work/other-keys/release.key" 2>"$work/problem")
    [ -n "$mine" ] || die "sign as a pipe: $(cat "$work/problem")"

    tamper "update envelopes set envelope=replace(envelope,'\"sig\":\"','\"sig\":\"AAAA')"
    refuses a "not trusted"
    cloud_stop
    # one character of the payload: another size, set, or anything else
    tamper "update envelopes set envelope=substr(envelope,1,200)||
        case substr(envelope,201,1) when 'A' then 'B' else 'A' end||substr(envelope,202)"
    refuses a "not good"
    cloud_stop
    tamper "update envelopes set envelope='$old'"
    refuses a "goes on from version 0"
    cloud_stop
    tamper "update envelopes set envelope=replace(envelope,'manifest+json','keys+json')"
    refuses a "type"
    cloud_stop
    # and one by a key of one's own
    tamper "update envelopes set envelope='$mine' where version=2"
    refuses a "not in force"
    cloud_stop
    restore
else
    echo "without sqlite3 the manifests on the cloud's disk are left alone"
fi
cp -r "$keys" "$work/keys-whole"

# --- someone in the cloud's place, with keys of his own: same port, other root ---

rm -rf "$keys"
have_sqlite && restore && in_db "delete from envelopes" # what the honest one signed is as good from him
cloud_start --listen "127.0.0.1:$port"
impostor_signs() {
    "$bin/cdcca-cloud" keys show --dir "$keys" |
        grep -q "$(curl -sS "$url/deltas/2/manifest" | jq -r '.signatures[0].keyid')"
}
have_sqlite && until_true "the impostor's signature" impostor_signs
refuses a "not trusted\|not in force\|not signed"
cloud_stop
rm -rf "$keys"
cp -r "$work/keys-whole" "$keys"
have_sqlite && restore

# --- and the honest one again: the alarm ends ---

cloud_start --listen "127.0.0.1:$port"
takes a 2
expect "the floor" "$(floor a)" 2
patch=$work/data/patches/$(manifest 2 .patch.sha256)
cp "$patch" "$work/patch"
printf '\125' | dd of="$patch" bs=1 seek=50 conv=notrunc status=none
: >"$work/edge.log"
edge_start b "${follow[@]}" --rounds 2
until_true "an altered patch is refused" logged "version 2 refused, version 1 stays"
kill -TERM "$edge_pid"
edge_end "after an altered patch"
cp "$work/patch" "$patch"
takes b 2

# --- keys are exchanged while both run: the edge follows, the old key is revoked ---

cp "$keys/release.key" "$work/revoked.key"
edge_start a --source world:target --budget 0 --rate 5
"$bin/cdcca-cloud" keys rotate --dir "$keys" >"$work/answer" || die "rotate"
grep -q "^document  2" "$work/answer" || die "rotate says: $(cat "$work/answer")"
"$bin/cdcca-cloud" keys rotate --dir "$keys" --role root >"$work/answer" || die "rotate the root"
until_true "all are signed anew" \
    bash -c "[ \"\$(curl -sS $url/deltas/1/manifest | jq -r '.signatures[0].keyid')\" = \
        \"\$('$bin/cdcca-cloud' keys show --dir '$keys' | awk '/^release/ {print \$2}')\" ]"
release 3
until_true "version 3 over two rotations" status_is a version 3
kill -TERM "$edge_pid"
edge_end "over two rotations"
expect "the version" "$(status a version)" 3
expect "the alarm" "$(status a alarm)" ""
expect "documents" "$(jq -r '.keys | fromjson | .payload | @base64d | fromjson | .version' \
    "$work/a/trust.json")" 3
[ "$(floor a)" -ge 5 ] || die "the floor is $(floor a)"
takes given 3

# --- expired: an alarm, and the last good version stays; signed anew, it goes on ---

cloud_stop
cloud_start --listen "127.0.0.1:$port" --manifest-life 2
release 4
before=$(manifest 1 .sequence)
until_true "signed anew in time" bash -c \
    "[ \"\$(curl -sS $url/deltas/1/manifest | jq -r '.payload | @base64d | fromjson | .sequence')\" -gt $before ]"
takes a 4

# back at the factory model, and nothing is offered: the newest manifest seen is confirmed all the same
expires() { jq -r .expires "$work/$1/trust.json"; }
takes back 4
rm -r "$work/back/slots" "$work/back/state.json"
for v in 1 2 3 4; do get "/releases/$v/halt" -X POST >/dev/null; done # superseded ones are no more
expect "offered" "$(curl -sS "$url/deltas" | jq -c '.deltas')" '[]'
was=$(expires back)
sleep 2
edge_start back --source world:target --budget 0 --rate 5
confirmed() { [[ $(expires back) > $was ]]; }
until_true "the newest manifest is confirmed" confirmed
expect "the alarm" "$(status back alarm)" ""
expect "the version" "$(status back version)" 0
kill -TERM "$edge_pid"
edge_end "at the factory model"
for v in 1 2 3 4; do get "/releases/$v/resume" -X POST >/dev/null; done
cloud_stop
# a freeze: everything as it was, for ever, as nobody signs anew
mv "$keys/release.key" "$work/release.key"
sleep 2
cloud_start --listen "127.0.0.1:$port" --manifest-life 2
refuses a "expired"
cp "$work/release.key" "$keys/release.key"
edge_start a --source world:target --budget 0 --rate 5
until_true "the alarm is over" status_is a alarm ""
kill -TERM "$edge_pid"
edge_end "after the freeze"
cloud_stop

# --- the release key is kept apart ---

[ ! -f "$keys/release.key" ] || mv "$keys/release.key" "$work/release.key"
cloud_start --listen "127.0.0.1:$port"
grep -q "releases wait for cdcca-cloud sign" "$work/cloud.log" || die "it does not say that it cannot sign"
release 5
expect "devices are told" "$(curl -sS "$url/deltas?after=4" | jq '.deltas | length')" 0
expect "its manifest" "$(get /deltas/5/manifest)" 404
expect "what waits" "$(curl -sS "$url/unsigned" | jq '.unsigned[0].version')" 5
waiting=$(curl -sS "$url/unsigned" | jq -c '.unsigned[0].envelope')
put() { get /deltas/5/manifest -X PUT -H 'Content-Type: application/json' -d "$1"; }
sign_by() { "$bin/cdcca-cloud" sign --key "$1" 2>/dev/null <<<"$2"; }
expect "unsigned" "$(put "$waiting")" 403
expect "by a revoked key" "$(put "$(sign_by "$work/revoked.key" "$waiting")")" 403
expect "no envelope" "$(put '{}')" 422
expect "not JSON" "$(put '{')" 422
expect "another payload" "$(put "$(sign_by "$work/release.key" \
    "$(curl -sS "$url/deltas/4/manifest" | jq -c '.signatures=[]')")")" 409
expect "no such release" "$(get /deltas/9/manifest -X PUT -H 'Content-Type: application/json' \
    -d "$(sign_by "$work/release.key" "$waiting")")" 404
curl -sS "$url/deltas?after=4&wait=60" >"$work/poll" &
poll=$!
sleep 0.5
"$bin/cdcca-cloud" sign --key "$work/release.key" --cloud "$url" 2>"$work/problem" ||
    die "sign: $(cat "$work/problem")"
grep -q "version 5" "$work/problem" || die "sign does not say what it signs: $(cat "$work/problem")"
wait "$poll"
expect "the poll hears of it" "$(jq '.deltas[0].version' "$work/poll")" 5
expect "what waits" "$(curl -sS "$url/unsigned" | jq '.unsigned | length')" 0
takes a 5
release 6
cloud_stop
chmod 644 "$work/release.key"
expect "a key that others can read" "$("$bin/cdcca-cloud" sign --key "$work/release.key" \
    --data "$work/data" 2>&1 | grep -c 'chmod 600')" 1
chmod 600 "$work/release.key"
"$bin/cdcca-cloud" sign --key "$work/release.key" --data "$work/data" 2>"$work/problem" ||
    die "sign --data: $(cat "$work/problem")"
cloud_start --listen "127.0.0.1:$port"
takes a 6
same_parameters a 6

# --- kill -9 at many moments: the trust file is always whole, the floor never falls ---

last=0
for i in $(seq 20); do
    edge_start k --source world:target --budget 0 --rate 50
    sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
    edge_kill
    if [ -f "$work/k/trust.json" ]; then
        now=$(floor k) || die "trust.json after kill $i: $(head -c 300 "$work/k/trust.json")"
        [ "$now" -ge "$last" ] || die "the floor fell from $last to $now"
        last=$now
    fi
done
takes k 6
cloud_stop
passed
