#!/usr/bin/env bash
# A full disk: uploads get 507 and are not acknowledged, reads go on, and it recovers by itself when
# there is room. Needs a user namespace for a small file system of its own; skipped without.
source "$(dirname "$0")/cloud.sh"
if ! unshare -rm true 2>/dev/null; then
    echo "skipped: no user namespaces here"
    exit 77
fi
mkdir "$work/data"
cat >"$work/small-disk" <<'SCRIPT'
#!/bin/sh
mount -t tmpfs -o size=4m none "$1" || exit 1
shift
exec "$@"
SCRIPT
real_bin=$bin
mkdir "$work/bin"
cat >"$work/bin/cdcca-cloud" <<SCRIPT
#!/bin/sh
exec unshare -rm sh "$work/small-disk" "$work/data" "$real_bin/cdcca-cloud" "\$@"
SCRIPT
chmod +x "$work/bin/cdcca-cloud"
bin=$work/bin cloud_start
bin=$real_bin

payload 1 8 >"$work/first"
expect "an upload" "$(upload "$work/first")" 201
fill=/proc/$cloud_pid/root$work/data/fill
head -c 8000000 /dev/zero >"$fill" 2>/dev/null || true
TOKENS=17 payload 2 200 >"$work/large"
expect "an upload on a full disk" "$(upload "$work/large")" 507
expect "Retry-After" "$(curl -sS -D - -o /dev/null -H 'Content-Type: application/x-safetensors' \
    --data-binary "@$work/large" "$url/tokens" | grep -ci '^Retry-After:')" 1
expect "reads go on" "$(get /tokens)" 200
expect "what is stored" "$(answer '.uploads | length')" 1
rm "$fill"
expect "an upload when there is room" "$(upload "$work/large")" 201
cloud_stop
