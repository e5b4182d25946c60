#!/usr/bin/env bash
# Run the whole product once on simulated telemetry, in the folder demo/: see scripts/demo.py.
set -euo pipefail
cd "$(dirname "$0")/.."
exec 9<scripts/demo.py
if ! flock --nonblock 9; then
    echo "Another demo is running here; wait for it, or stop it." >&2
    exit 2
fi
if kill -0 -- "-$(cat demo/airflow/standalone.pid 2>/dev/null || echo none)" 2>/dev/null; then
    echo "Airflow is running on demo/; stop it first: make down ROOT=demo" >&2
    exit 2
fi
if [ -e demo ]; then
    echo "Removing the folder demo/ of the last time"
    rm -rf demo
fi
# The demo keeps to its folder, whatever stores and servers this shell is set up for.
for name in $(compgen -e | grep -E '^(AIRFLOW|BWPREDICT_)'); do unset "$name"; done
export ROOT="$PWD/demo"
. scripts/airflow-env.sh
mkdir -p "$AIRFLOW_HOME"
echo "Preparing Airflow on SQLite (ten seconds); its log is demo/airflow/demo.log"
prepare_airflow >"$AIRFLOW_HOME/demo.log" 2>&1
exec python scripts/demo.py
