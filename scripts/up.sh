#!/usr/bin/env bash
# Airflow for the browser, all its processes in one group: `up.sh` runs until Ctrl-C, `up.sh down` ends another's.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/airflow-env.sh
pid_file="$AIRFLOW_HOME/standalone.pid"
log="$AIRFLOW_HOME/standalone.log"

stop() {
    trap '' INT TERM
    trap - EXIT
    local group
    group="$(cat "$pid_file" 2>/dev/null)" || return 0
    echo "Stopping Airflow"
    # The launcher alone would leave the scheduler and the workers running: end the group, and see it gone.
    kill -TERM -- "-$group" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 -- "-$group" 2>/dev/null || break
        sleep 0.2
    done
    kill -KILL -- "-$group" 2>/dev/null || true
    rm -f "$pid_file"
}

healthy() {
    python - "http://127.0.0.1:$AIRFLOW__API__PORT/api/v2/monitor/health" <<'PYTHON' 2>/dev/null
import json, sys, urllib.request
parts = json.load(urllib.request.urlopen(sys.argv[1], timeout=5))
needed = ("metadatabase", "scheduler", "dag_processor", "triggerer")
sys.exit(any(parts[part]["status"] != "healthy" for part in needed))
PYTHON
}

show_the_way_in() {
    python - "$AIRFLOW_HOME/simple_auth_manager_passwords.json.generated" <<'PYTHON'
import json, os, pathlib, sys
environment, file = os.environ, pathlib.Path(sys.argv[1])
passwords = json.loads(file.read_text()) if file.exists() else {}
print(f"""
Airflow    {environment['AIRFLOW__API__BASE_URL']}   user admin, password {passwords.get('admin', 'as you set it')}
           (from {file})
The DAG    bandwidth_predictor_retrain: press Trigger and choose a month. Unpausing it starts nothing by itself; then
           it retrains each month once that is over.
Telemetry  {environment['BWPREDICT_TELEMETRY']}
Registry   {environment['BWPREDICT_REGISTRY']}
Runs       {environment['BWPREDICT_WORK']}""")
telemetry = environment["BWPREDICT_TELEMETRY"]
if "://" not in telemetry and not any(pathlib.Path(telemetry).glob("*")):
    print(f"\nThere is no telemetry yet. To make a month:\n"
          f"  .venv/bin/bwpredict generate --links 10 --days 31 --start 2026-10-01 --output {telemetry}")
print(f"\nCtrl-C, or `make down ROOT={pathlib.Path(environment['ROOT'])}` elsewhere, stops it.", flush=True)
PYTHON
}

if [ "${1:-up}" = down ]; then
    [ -e "$pid_file" ] || echo "Nothing to stop: no Airflow was started for $ROOT."
    stop
    exit
fi

if kill -0 -- "-$(cat "$pid_file" 2>/dev/null || echo none)" 2>/dev/null; then
    echo "Airflow runs already for $ROOT; \`make down ROOT=$ROOT\` stops it." >&2
    exit 2
fi
if (: <"/dev/tcp/127.0.0.1/$AIRFLOW__API__PORT") 2>/dev/null; then
    echo "Port $AIRFLOW__API__PORT is taken; choose another: AIRFLOW__API__PORT=8081 make up" >&2
    exit 2
fi
echo "Starting Airflow (half a minute); its log is $log"
mkdir -p "$AIRFLOW_HOME"
prepare_airflow >"$log" 2>&1
# Not `airflow standalone`: its log servers listen on all interfaces, and here every log is a local file.
setsid bash -c 'airflow dag-processor & airflow scheduler --skip-serve-logs & airflow triggerer --skip-serve-logs &
    airflow api-server & wait -n; exit 1' >>"$log" 2>&1 &
airflow_pid=$!
echo "$airflow_pid" >"$pid_file"
trap stop EXIT
trap 'exit 0' INT TERM
until healthy; do
    kill -0 "$airflow_pid" 2>/dev/null || { tail -20 "$log" >&2; echo "Airflow did not start; see $log." >&2; exit 1; }
    sleep 1
done
show_the_way_in
wait "$airflow_pid" || true
