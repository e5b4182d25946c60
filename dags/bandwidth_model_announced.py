"""### An example of a DAG that runs whenever another bandwidth model is in production

It is scheduled on the asset `bandwidth_model`: by a retraining that published, and by a promotion or a rollback from
the page Bandwidth models. What it knows of the model comes with the event. Copy it, and put what your network needs
in place of the log line: warm a cache, restart a consumer, open a ticket.
"""

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, dag, get_current_context, task

MODEL = Asset("bandwidth_model")
logger = logging.getLogger(__name__)


@dag(
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
    """One task, which tells what came."""

    @task(execution_timeout=timedelta(minutes=5), multiple_outputs=False)
    def tell() -> dict[str, Any]:
        """Log version and figures of the model, as the latest event has them."""
        event = get_current_context()["triggering_asset_events"][MODEL][-1]
        model = dict(event.extra)
        logger.info("%s is in production (%s): %s", model["version"], model["kind"], model["metrics"])
        return model

    tell()


bandwidth_model_announced()
