"""Run the tune DAG on small telemetry, then the retraining's plan on its result, and write how they did as JSON."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.settings import DAGS_FOLDER
from run_output import in_one_process, output_to

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.tuning.config_files import approve

ANSWER = Path(sys.argv[1])
SEARCH = {"month": "2026-07", "trials": 4, "epochs": 2, "windows_per_epoch": 640, "seed": 7, "study": "august"}
RETRAIN = {"month": "2026-07", "training_config": "august"}
AFTER_VALIDATION = "train|export|compare|decide|publish"


def main() -> None:
    write_partitioned(FleetConfig(links=2, days=4, start="2026-07-01", seed=5), Path(os.environ["BWPREDICT_TELEMETRY"]))
    dags = DagBag(DAGS_FOLDER).dags
    answer = {"search": run(dags["bandwidth_predictor_tune"], "search", SEARCH)}
    retrain = in_one_process(dags["bandwidth_predictor_retrain"])
    answer["unapproved"] = run(retrain, "unapproved", RETRAIN, AFTER_VALIDATION)
    approve(open_store(os.environ["BWPREDICT_REGISTRY"]), "august", by="test", now=datetime.now(UTC))
    answer["approved"] = run(retrain, "approved", RETRAIN, AFTER_VALIDATION)
    ANSWER.write_text(json.dumps(answer))


def run(dag, name: str, conf: dict, already_done: str | None = None) -> dict:
    log = ANSWER.with_name(f"tune_{name}.log")
    with output_to(log):
        ended = dag.test(logical_date=None, run_conf=conf, mark_success_pattern=already_done)
    tasks = ended.get_task_instances()
    return {
        "state": str(ended.state),
        "tasks": [[ti.task_id, ti.map_index, str(ti.state)] for ti in tasks],
        "trials": sorted(ti.rendered_map_index for ti in tasks if ti.task_id == "trial"),
        "area": str(Path(os.environ["BWPREDICT_WORK"]) / ended.run_id),
        "log": str(log),
    }


main()
