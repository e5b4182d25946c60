"""Run the monitor DAG on a model that has got worse, on the day of the alarm and the day after; write how it did."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.settings import DAGS_FOLDER
from airflow.utils.session import create_session
from degraded_model import ALARM, prepare
from run_output import output_to

ANSWER = Path(sys.argv[1])


def main() -> None:
    prepare(os.environ["BWPREDICT_TELEMETRY"], os.environ["BWPREDICT_REGISTRY"], ANSWER.parent)
    dag = DagBag(DAGS_FOLDER).dags["bandwidth_predictor_monitor"]
    days = {
        "alarm": ALARM,
        "day_after": ALARM + timedelta(days=1),
        "no_telemetry": ALARM - timedelta(days=39),
    }
    ANSWER.write_text(json.dumps({name: run(dag, name, day.isoformat()) for name, day in days.items()}))


def run(dag, name: str, day: str) -> dict:
    log = ANSWER.with_name(f"monitor_{name}.log")
    with output_to(log):
        ended = dag.test(logical_date=None, run_conf={"day": day})
    with create_session() as session:
        events = [event.extra for event in session.query(AssetEvent).all() if event.source_run_id == ended.run_id]
    return {
        "run_id": ended.run_id,
        "state": str(ended.state),
        "tasks": {ti.task_id: str(ti.state) for ti in ended.get_task_instances()},
        "asset_events": events,
        "log": str(log),
    }


main()
