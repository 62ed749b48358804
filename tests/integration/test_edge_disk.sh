#!/usr/bin/env bash
# A full disk under the agent: it goes on answering and says what it cannot keep; when there is room
# again, uploads wait in the spool as before. Needs a user namespace for a small file system of its
# own; skipped without.
source "$(dirname "$0")/edge.sh"
if ! unshare -rm true 2>/dev/null; then
    echo "skipped: no user namespaces here"
    exit 77
fi
url=http://127.0.0.1:9 # the cloud is away
mkdir "$work/small"
cat >"$work/in-small" <<SCRIPT
#!/bin/sh
mount -t tmpfs -o size=512k none "$work/small" || exit 1
exec "$bin/cdcca-edge" run --cloud "$url" --model "$work/student" --data "$work/small/edge" \
    --source world:source --window 50 --budget 0.5 --rate 50 --json
SCRIPT
unshare -rm sh "$work/in-small" >"$work/lines" 2>"$work/edge.log" &
edge_pid=$!
inside=/proc/$edge_pid/root$work/small

answers() { wc -l <"$work/lines"; }
more_answers() { [ "$(answers)" -gt "$1" ]; }
spooled() { find "$inside/edge/spool" -name '*.upload' 2>/dev/null | wc -l; }
more_spooled() { [ "$(spooled)" -gt "$1" ]; }

until_true "a first upload waits" more_spooled 0
head -c 2000000 /dev/zero >"$inside/fill" 2>/dev/null || true
until_true "it says that the disk is full" logged "No space left"
until_true "it goes on answering" more_answers $(($(answers) + 100))
kill -0 "$edge_pid" || die "it is gone"
before=$(spooled)
rm "$inside/fill"
until_true "uploads wait again" more_spooled "$before"
kill -TERM "$edge_pid"
edge_end "after a full disk"
passed
