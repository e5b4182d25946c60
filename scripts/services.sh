#!/usr/bin/env bash
# Debian packages that tests need beside Python: `services.sh prometheus postgresql redis-server`. Their services are not
# used, only their programs. Exit code 2 if one is missing and cannot be installed.
set -euo pipefail
missing=()
for package in "$@"; do
    case $package in
        postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
        golang-go) command -v go >/dev/null ;;
        *) command -v "$package" >/dev/null ;;
    esac || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
    exit
fi
if [ "$(id -u)" != 0 ]; then
    echo "Tests need ${missing[*]}; as root: apt-get install ${missing[*]}" >&2
    exit 2
fi
echo "Installing the system packages ${missing[*]} for the tests (once; a minute or two)"
exec 9<scripts/services.sh
flock 9 # apt-get update fails beside another one
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || exit 2
