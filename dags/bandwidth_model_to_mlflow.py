"""### Register each new model in MLflow

Runs whenever another model is in production: by a retraining that published, and by a promotion or a rollback from the
Models pages. Registers the version that `production.json` names, unless MLflow has it, and moves the alias `champion`
to it. The DAG exists if `BWPREDICT_MLFLOW_TRACKING_URI` is set. A red run means that MLflow is out of date; production
is not affected. Clear the task, or run `bwpredict push mlflow`.
"""

import shlex
import sys
from datetime import timedelta

from airflow.sdk import DAG, Asset, task
from bwpredict_airflow.default_args import display_name

from bwpredict.config import Settings
from bwpredict.pipeline.model_catalog import NamedModel, read_models


def mlflow_dag(model: NamedModel) -> None:
    """The DAG of one model."""
    with DAG(
        dag_id=model.named("bandwidth_model_to_mlflow"),
        dag_display_name=display_name("to MLflow", model.name),
        schedule=[Asset(model.named("bandwidth_model"))],
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(hours=4),
        default_args={"owner": "bandwidth-prediction", "retries": 3, "retry_delay": timedelta(minutes=5)},
        description="The model in production, in MLflow's registry",
        doc_md=__doc__,
        tags=["bandwidth", model.name],
    ):

        @task.bash(execution_timeout=timedelta(minutes=30))
        def push() -> str:
            """Run `bwpredict push mlflow`, with the Python that `BWPREDICT_MLFLOW_PYTHON` names or this one."""
            python = Settings().mlflow_python or sys.executable
            return shlex.join([python, "-m", "bwpredict", "push", "mlflow", "--model", model.name])

        push()


if Settings().mlflow_tracking_uri:
    for each in read_models(Settings()):
        mlflow_dag(each)
