#!/usr/bin/env bash
# A separate environment with MLflow's server and what `bwpredict push mlflow` needs: build/mlflow. The tests use it.
# Exit code 2 if it cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."
[ ! -e build/mlflow/.ready ] || exit 0
overrides="$(mktemp)"
trap 'rm -f "$overrides"' EXIT
echo 'pyarrow<26' >"$overrides" # MLflow's server caps it; the client, which is what users install, does not
.venv/bin/python -m venv --without-pip build/mlflow &&
    bash scripts/uv.sh pip install --quiet --python "$PWD/build/mlflow/bin/python" --override "$overrides" \
        -r pyproject.toml --extra mlflow 'mlflow==3.17.2' && touch build/mlflow/.ready || exit 2
