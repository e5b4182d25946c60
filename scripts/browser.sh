#!/usr/bin/env bash
# Chromium for the tests that look at pages; without it they are skipped, with a reason. Playwright drives it with a Node.js
# that needs libatomic.
set -euo pipefail
if [ -x /usr/bin/chromium ] && /sbin/ldconfig -p | grep libatomic.so.1 >/dev/null; then
    exit
fi
if [ "$(id -u)" != 0 ]; then
    echo "No chromium: the tests of pages will be skipped (as root: apt-get install chromium libatomic1)"
    exit
fi
echo "Installing the system package chromium for the tests of pages (once; a minute or two)"
exec 9<scripts/services.sh
flock 9 # apt-get update fails beside another one
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium libatomic1; } >/dev/null ||
    echo "chromium could not be installed: the tests of pages will be skipped"
