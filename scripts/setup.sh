#!/usr/bin/env bash
# Make .venv with the exact packages of requirements.txt. Needs Python 3.11 and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    for candidate in "${PYTHON:-python3.11}" python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11 is needed (Debian 12: apt-get install python3 python3-venv; or name one: make setup PYTHON=/path/to/python3.11)." >&2
    exit 2
}

python="$(find_python)"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        echo "$python cannot make a virtual environment; as root: apt-get install python3-venv" >&2
        exit 2
    fi
    echo "Installing the system package python3-venv"
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3-venv
fi

echo "Installing the packages of requirements.txt into .venv (once; 2 to 4 minutes)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --disable-pip-version-check --quiet -r requirements.txt
.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --editable .
touch .venv/.ready
