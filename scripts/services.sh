#!/usr/bin/env bash
# Prometheus and PostgreSQL for the tests of telemetry sources; without them those are skipped, with a reason.
set -euo pipefail
missing=()
[ -x /usr/bin/promtool ] || missing+=(prometheus)
compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} = 0 ]; then
    exit
fi
if [ "$(id -u)" != 0 ]; then
    echo "No ${missing[*]}: the tests of telemetry sources will be skipped (as root: apt-get install ${missing[*]})"
    exit
fi
echo "Installing the system packages ${missing[*]} for the tests of telemetry sources (once; a minute or two)"
# policy-rc.d: the packages must not start services of their own.
policy=/usr/sbin/policy-rc.d
[ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 ||
    echo "${missing[*]} could not be installed: the tests of telemetry sources will be skipped"
