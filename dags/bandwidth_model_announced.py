"""### An example of a DAG that runs whenever another bandwidth model is in production

It is scheduled on the asset `bandwidth_model`: by a retraining that published, and by a promotion or a rollback from
the Models pages. The event says that production has moved; the DAG reads the current version from `production.json`,
since events may come late, together or twice. Copy it, and replace the log line by what your network needs: warm a
cache, restart a consumer, open a ticket. A task like this may run twice for one version.
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from bwpredict_airflow.default_args import display_name
from bwpredict_airflow.task_errors import one_line_errors

from bwpredict.config import Settings

MODEL = Asset("bandwidth_model")
logger = logging.getLogger(__name__)


@dag(
    dag_display_name=display_name("announced (example)"),
    schedule=[MODEL],
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args={"owner": "bandwidth-prediction"},
    description="Example: what to do when another model is in production",
    doc_md=__doc__,
    tags=["bandwidth", "example"],
)
def bandwidth_model_announced() -> None:
    """One task, which logs the new model."""

    @task(execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def tell() -> dict[str, Any]:
        """Log version and figures of the model that `production.json` names."""
        from bwpredict.registry.pointer import read_production
        from bwpredict.registry_views.overview import announcement
        from bwpredict.store.factory import open_store

        with one_line_errors():
            store = open_store(Settings().registry)
            production = read_production(store)
            if production is None:
                raise AirflowSkipException(f"Nothing is in production at {store.uri}.")
            model = announcement(store, production)
        logger.info("%s is in production (%s): %s", model["version"], model["kind"], model["metrics"])
        return model

    tell()


bandwidth_model_announced()
