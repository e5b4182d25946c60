#!/usr/bin/env bash
# PostgreSQL and Redis for the integration tests; their services are not used, only their programs.
set -euo pipefail
missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
if [ ${#missing[@]} = 0 ]; then
    exit
fi
if [ "$(id -u)" != 0 ]; then
    echo "The integration tests need PostgreSQL and Redis; as root: apt-get install ${missing[*]}" >&2
    exit 2
fi
echo "Installing the system packages ${missing[*]} for the integration tests (once; a minute)"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
