#!/usr/bin/env bash
# serve.sh [REPETITIONS [SECONDS]]: cdcca-cloud beside nginx, and beside the bare library on which it
# is built (bench_mhd.c), on the same two jobs, in turn, by work per CPU second of the server (utime +
# stime of its processes, so that the client's share and other programs do not count): GET /healthz in
# requests, GET /deltas/1 of a 1 MB patch in bytes. Both write a line a request, gathered, into a
# file; the bare library writes none. Then uploads of 16 KB, durable when they are answered: many at
# once beside one after another, on the disk as it is, and with each sync taking 5 ms more
# (slow_sync.c), as on a disk without a battery.
# Needs nginx and wrk (apt-get install nginx-light wrk); JSON on stdout. Stops what it started.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
source demo/shell.sh
set -- build/gcc "${1:-5}" "${2:-3}"
[ -x build/cdcca-cloud ] && [ -x build/make_payload ] && set -- build "${@:2}"
for tool in nginx wrk jq curl; do
    command -v "$tool" >/dev/null || die "no $tool here; apt-get install nginx-light wrk jq curl"
done
repetitions=$2 seconds=$3
source tests/integration/cloud.sh "$1"
rm -r "$work/teacher" "$work/student" # the built-in pair: 16 KB are as many instances as in its uploads
cp -r models/teacher models/student "$work"
nginx_pid=''
bench_cleanup() {
    if [ -n "$nginx_pid" ]; then kill "$nginx_pid" 2>/dev/null || true; fi
    cleanup
}
trap bench_cleanup EXIT

# ---- the two servers ----

nginx_start() {
    mkdir -p "$work/www/deltas" "$work/nginx"
    cp "$work/patch" "$work/www/deltas/1"
    cat >"$work/nginx.conf" <<CONF
daemon off;
user root;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
worker_processes $(nproc);
events { worker_connections 1024; }
http {
    access_log $work/nginx/access.log combined buffer=64k flush=1s;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    default_type application/zstd;
    client_body_temp_path $work/nginx/body;
    proxy_temp_path $work/nginx/proxy;
    fastcgi_temp_path $work/nginx/fastcgi;
    uwsgi_temp_path $work/nginx/uwsgi;
    scgi_temp_path $work/nginx/scgi;
    server {
        listen 127.0.0.1:$nginx_port;
        root $work/www;
        location = /healthz {
            default_type application/json;
            add_header Cache-Control no-store;
            add_header X-Content-Type-Options nosniff;
            return 200 '$(curl -sS "$url/healthz" | jq .)\n';
        }
    }
}
CONF
    nginx -p "$work/nginx" -c "$work/nginx.conf" 2>"$work/nginx/start.log" &
    nginx_pid=$!
    for _ in $(seq 50); do
        ! curl -fsS -o /dev/null "http://127.0.0.1:$nginx_port/healthz" 2>/dev/null || return 0
        sleep 0.1
    done
    die "nginx did not start: $(cat "$work/nginx/start.log")"
}

# mhd_start: the bare library; it ends with this script, whose pipe it reads
mhd_start() {
    exec 4> >(exec "$bin/tests/bench/bench_mhd" $((port + 2)) "$work/patch")
    mhd_pid=$!
}

# patch_make: a round, whose patch is then replaced by a file of 1 MB: what it says does not matter
patch_make() {
    payload 1 24 >"$work/a"
    upload "$work/a" >/dev/null
    [ "$(round_wait "$(distill '{"holdout":0,"steps":2,"batch":8}')")" = released ] || die "no round"
    head -c 1000000 /dev/urandom >"$work/patch"
    cp "$work/patch" "$work/data/patches/$(curl -sS "$url/deltas" | jq -r '.deltas[0].sha256')"
}

# ---- measuring ----

# cpu PID: clock ticks that it and its children have used
cpu() {
    local pid total=0
    for pid in "$1" $(cat /proc/"$1"/task/*/children 2>/dev/null); do
        total=$((total + $(awk '{print $14 + $15}' "/proc/$pid/stat")))
    done
    echo "$total"
}

# measured PID URL: wrk's requests per CPU second of the server PID
measured() {
    local before after requests
    before=$(cpu "$1")
    requests=$(wrk -t 1 -c 16 -d "${seconds}s" "$2" | tee "$work/wrk" |
        awk '/requests in/ {print $1}')
    after=$(cpu "$1")
    ! grep -q Non-2xx "$work/wrk" || die "$2: $(cat "$work/wrk")"
    jq -n "$requests * $(getconf CLK_TCK) / ($after - $before) | floor"
}

# beside PATH: all three in turn; per turn the ratios to nginx
beside() {
    for _ in $(seq "$repetitions"); do
        jq -n --argjson ours "$(measured "$cloud_pid" "$url$1")" \
            --argjson mhd "$(measured "$mhd_pid" "http://127.0.0.1:$((port + 2))$1")" \
            --argjson nginx "$(measured "$nginx_pid" "http://127.0.0.1:$nginx_port$1")" \
            '{ours: $ours, mhd: $mhd, nginx: $nginx, ours_to_nginx: ($ours / $nginx),
              mhd_to_nginx: ($mhd / $nginx)}'
    done | jq -s 'sort_by(.ours_to_nginx) | .[length / 2 | floor] +
        {every_ratio: map(.ours_to_nginx)}'
}

# stored CONNECTIONS FIRST: uploads a second
stored() {
    "$bin/net_flood" "$port" "$cloud_pid" "$work/large" "$1" "$seconds" "$2" |
        sed -n 's/.* stored (\([0-9]*\) a second).*/\1/p'
}

# uploads SYNC_US NAME: of a cloud whose every sync takes that much longer (0: as it is); into $work/NAME
uploads() {
    local many one
    cloud_stop
    SLOW_SYNC_US=$1 LD_PRELOAD=$bin/tests/bench/libslow_sync.so cloud_start
    for _ in $(seq "$repetitions"); do
        first=$((first + 1000000))
        many=$(stored 192 $first)
        first=$((first + 1000000))
        one=$(stored 1 $first)
        echo "{\"many\": $many, \"one\": $one}"
    done >"$work/uploads"
    jq -s 'map(. + {ratio: (.many / .one)}) | sort_by(.ratio) |
        {many_at_once: .[length / 2 | floor].many, one_after_another: .[length / 2 | floor].one,
         ratio: .[length / 2 | floor].ratio, ratios: map(.ratio)}' "$work/uploads" >"$work/$2"
}

first=0
cloud_start
nginx_port=$((port + 1))
patch_make
nginx_start
mhd_start
say "GET /healthz, requests per CPU second"
healthz=$(beside /healthz)
say "GET /deltas/1, requests of 1 MB per CPU second"
deltas=$(beside /deltas/1)
DEVICE=q10000-many TOKENS=6 payload 10000 24 >"$work/large" # each from a device of its own: one has a quota
say "POST /tokens of 16 KB, uploads a second"
uploads 0 tokens
say "the same, each sync taking 5 ms more"
uploads 5000 tokens_slow
jq -n --argjson healthz "$healthz" --argjson deltas "$deltas" --slurpfile tokens "$work/tokens" \
    --slurpfile slow "$work/tokens_slow" --argjson repetitions "$repetitions" \
    --argjson bytes "$(stat -c %s "$work/large")" \
    '{repetitions: $repetitions, healthz: $healthz, deltas: $deltas,
      tokens: ($tokens[0] + {bytes: $bytes}), tokens_sync_5ms: $slow[0]}'
