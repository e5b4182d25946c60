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
from monitored import FIRST, NOW, publish_three
from run_output import output_to

from bwpredict.monitoring.day import monitor_day
from bwpredict.store import open_store
from bwpredict.synth.fleet import FleetConfig
from bwpredict.synth.writer import write_partitioned

ANSWER = Path(sys.argv[1])
DAYS_TO_THE_ALARM = 9


def main() -> None:
    telemetry, root = os.environ["BWPREDICT_TELEMETRY"], ANSWER.parent
    write_partitioned(FleetConfig(links=2, days=11, start=FIRST.isoformat(), seed=3), Path(telemetry))
    registry = open_store(os.environ["BWPREDICT_REGISTRY"])
    publish_three(registry, root / "models", factor=1.5, share=0)
    for number in range(1, DAYS_TO_THE_ALARM):
        monitor_day(registry, open_store(telemetry), FIRST + timedelta(days=number), root / "scratch", now=NOW)
    dag = DagBag(DAGS_FOLDER).dags["bandwidth_predictor_monitor"]
    days = {
        "alarm": FIRST + timedelta(days=DAYS_TO_THE_ALARM),
        "day_after": FIRST + timedelta(days=DAYS_TO_THE_ALARM + 1),
        "no_telemetry": FIRST - timedelta(days=30),
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
