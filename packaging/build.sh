#!/usr/bin/env bash
# build.sh: the Debian packages, into build/package/packages; with Debian's own compiler flags.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export DEB_BUILD_MAINT_OPTIONS=hardening=+bindnow
CFLAGS="$(dpkg-buildflags --get CFLAGS) $(dpkg-buildflags --get CPPFLAGS)"
LDFLAGS=$(dpkg-buildflags --get LDFLAGS)
export CFLAGS LDFLAGS
cmake --preset package
cmake --build --preset package --target pages edge changelog
rm -rf build/package/packages
cd build/package
cpack
