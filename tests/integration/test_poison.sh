#!/usr/bin/env bash
# test_poison.sh BUILD: 20 devices of which 2 are hostile, by each kind of attack, with the built-in
# models: what is released scores at most 2 points, and 3 standard errors of the difference, below
# what the honest devices alone make of it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."
exec "$1/poison" models/teacher models/student
