#!/usr/bin/env bash
# install.sh: the packages of package.json, unless they are there; exit 77 where that cannot be.
cd "$(dirname "$(readlink -f "$0")")" || exit 1
command -v npm >/dev/null || { echo "skipped: no npm"; exit 77; }
exec 9<package-lock.json
flock 9
cmp -s package-lock.json node_modules/.of-lock && exit 0
said=$(npm ci --ignore-scripts --no-audit --no-fund 2>&1) || { echo "skipped: npm ci: $(grep -m 1 error <<<"$said")"; exit 77; }
cp package-lock.json node_modules/.of-lock
