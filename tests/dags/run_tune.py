"""Run the tune DAG once on small telemetry, and write how it did as JSON to the given path."""

import json
import os
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.settings import DAGS_FOLDER

from bwpredict.synth.fleet import FleetConfig
from bwpredict.synth.writer import write_partitioned

CONF = {"month": "2026-08", "trials": 4, "epochs": 2, "windows_per_epoch": 640, "seed": 7, "study": "august"}


def main() -> None:
    write_partitioned(FleetConfig(links=2, days=4, start="2026-08-01", seed=5), Path(os.environ["BWPREDICT_TELEMETRY"]))
    dag = DagBag(DAGS_FOLDER).dags["bandwidth_predictor_tune"]
    ended = dag.test(logical_date=None, run_conf=CONF)
    tasks = ended.get_task_instances()
    answer = {
        "state": str(ended.state),
        "tasks": sorted([ti.task_id, ti.map_index, str(ti.state)] for ti in tasks),
        "trials": sorted(ti.rendered_map_index for ti in tasks if ti.task_id == "trial"),
        "area": str(Path(os.environ["BWPREDICT_WORK"]) / ended.run_id),
    }
    Path(sys.argv[1]).write_text(json.dumps(answer))


main()
