#!/usr/bin/env bash
# Make .venv with the exact packages of requirements.txt. Needs Python 3.11.2 to 3.13 with venv, and nothing else.
#   PYTHON=/path/to/python3.12   use this interpreter
#   TORCH_BACKEND=cpu            let uv take torch from PyTorch's own index (cpu, cu128, auto, …)
#   WITHOUT_TORCH=1              leave torch out, for what needs none of it
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/setup.log
mkdir -p build

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11, 2) <= sys.version_info[:3] < (3, 14))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        if supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "Python 3.11.2 to 3.13 is needed (Debian: apt-get install python3 python3-venv; or make setup PYTHON=/path/to/python3.12)." >&2
    exit 2
}

# Run quietly; on failure show the end of the log.
quietly() {
    "$@" >>"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        echo "Setup failed; the whole log is $log." >&2
        exit 1
    }
}

: >"$log"
python="$(find_python)"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" != 0 ]; then
        echo "$python cannot make a virtual environment; as root: apt-get install python3-venv" >&2
        exit 2
    fi
    echo "Installing the system package python3-venv"
    quietly apt-get update -qq
    quietly apt-get install -y -qq --no-install-recommends python3-venv
fi
if [ -x .venv/bin/python ] && ! supported .venv/bin/python; then rm -rf .venv; fi
[ -x .venv/bin/python ] || quietly "$python" -m venv .venv

lock=(--requirement requirements.txt)
if [ -n "${WITHOUT_TORCH:-}" ]; then
    grep -v '^torch==' requirements.txt >build/requirements.txt
    lock=(--no-deps --requirement build/requirements.txt)
fi
if bash scripts/uv.sh --version >>"$log" 2>&1; then
    echo "Installing the packages of requirements.txt into .venv with uv (once; a minute)"
    # shellcheck disable=SC2086
    quietly bash scripts/uv.sh pip install "${lock[@]}" ${TORCH_BACKEND:+--torch-backend $TORCH_BACKEND}
    quietly bash scripts/uv.sh pip install --no-deps --editable .
else
    echo "uv cannot be installed; installing the packages of requirements.txt with pip (once; 2 to 7 minutes)"
    pip=(.venv/bin/python -m pip install --disable-pip-version-check --quiet)
    quietly "${pip[@]}" "${lock[@]}"
    quietly "${pip[@]}" --no-deps --editable .
fi
touch .venv/.ready
