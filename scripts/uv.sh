#!/usr/bin/env bash
# Run uv with what pip is configured for: uv does not read pip's configuration. Brings uv from the package index into
# build/uv if it is not installed. Exit code 127 if the index does not have it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
while IFS='=' read -r name value; do
    value="${value#\'}"
    value="${value%\'}"
    case "$name" in
        *.index-url) export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$value}" ;;
        *.extra-index-url) [[ $value == file:* ]] || export UV_INDEX="${UV_INDEX:-$value}" ;;
        *.find-links) export UV_FIND_LINKS="${UV_FIND_LINKS:-${value// /,}}" ;;
        *.cert) export SSL_CERT_FILE="${SSL_CERT_FILE:-$value}" ;;
    esac
done < <("$python" -m pip config list 2>/dev/null)
uv="$(command -v uv || echo build/uv/bin/uv)"
if [ ! -x "$uv" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --target build/uv uv >/dev/null 2>&1 || exit 127
fi
export UV_LINK_MODE="${UV_LINK_MODE:-copy}" VIRTUAL_ENV="$PWD/.venv"
exec "$uv" "$@"
