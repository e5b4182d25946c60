# Environment of every local Airflow process (demo, make up, tests). Source it; all state goes under $ROOT.
# What is set already stays as it is, so a user's own stores, alert URLs or ports win.
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
ROOT="$(mkdir -p "${ROOT:-$repository/data}" && cd "${ROOT:-$repository/data}" && pwd)"
export ROOT
export PATH="$repository/.venv/bin:$PATH"

export AIRFLOW_HOME="$ROOT/airflow"
export AIRFLOW__CORE__DAGS_FOLDER="$repository/dags"
export AIRFLOW__CORE__PLUGINS_FOLDER="$repository/plugins"
export AIRFLOW__CORE__LOAD_EXAMPLES=False
export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="${AIRFLOW__DATABASE__SQL_ALCHEMY_CONN:-sqlite:///$AIRFLOW_HOME/airflow.db}"
export AIRFLOW__API__HOST="${AIRFLOW__API__HOST:-127.0.0.1}"
export AIRFLOW__API__PORT="${AIRFLOW__API__PORT:-8080}"
export AIRFLOW__API__BASE_URL="${AIRFLOW__API__BASE_URL:-http://localhost:$AIRFLOW__API__PORT}"
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL="${AIRFLOW__CORE__EXECUTION_API_SERVER_URL:-http://127.0.0.1:$AIRFLOW__API__PORT/execution/}"

export BWPREDICT_TELEMETRY="${BWPREDICT_TELEMETRY:-$ROOT/telemetry}"
export BWPREDICT_REGISTRY="${BWPREDICT_REGISTRY:-$ROOT/registry}"
export BWPREDICT_WORK="${BWPREDICT_WORK:-$ROOT/work}"
export BWPREDICT_BASE_URL="${BWPREDICT_BASE_URL:-$AIRFLOW__API__BASE_URL}"

# Airflow reads .airflowignore through a class that its library has renamed, and would log so in each task.
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore::DeprecationWarning:airflow.sdk._shared.module_loading.file_discovery,ignore::DeprecationWarning:airflow._shared.module_loading.file_discovery}"

# Nothing phones home.
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False
export SCARF_ANALYTICS=false
export DO_NOT_TRACK=1
export GX_ANALYTICS_ENABLED=false

# The metadata database at today's schema, with the pools that training and the trials of a search run in; then further
# commands of Airflow, if there are any: prepare_airflow "dags reserialize".
prepare_airflow() {
    mkdir -p "$AIRFLOW_HOME"
    printf '%s\n' 'db migrate' \
        'pools set gpu 1 "Training: one run at a time for each GPU"' \
        'pools set tune 1 "Trials of a search: as many at a time as GPUs may be spared from training"' "$@" |
        python "$repository/scripts/airflow_commands.py"
}
