"""Run the real DAG on small telemetry in every way it can end, and write how it did as JSON to the given path.

The log of each run goes to a file beside that path.
"""

import json
import os
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.settings import DAGS_FOLDER
from airflow.utils.session import create_session
from guests import smoothing_onnx
from lenient_gate import LENIENT
from run_output import in_one_process, output_to

from bwpredict.registry.layout import challenger_key
from bwpredict.simulation.data_faults import inject
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

ANSWER = Path(sys.argv[1])
OUT_OF_REACH = LENIENT | {"minimum_skill": 0.99}
TRAINING = {"epochs": 1, "windows_per_epoch": 640, "seed": 7}

SCENARIOS = {
    "bootstrap": {"month": "2026-08", "gate_overrides": LENIENT, **TRAINING},
    "reject": {"month": "2026-09", "gate_overrides": OUT_OF_REACH, **TRAINING},
    "promote": {"month": "2026-09", "gate_overrides": LENIENT, **TRAINING},
    "broken_telemetry": {"month": "2026-10", **TRAINING},
    "empty_month": {"month": "2031-01", **TRAINING},
    "keep": {"month": "2026-11", "gate_overrides": LENIENT, **TRAINING},
    "judge": {
        "month": "2026-11",
        "gate_overrides": LENIENT,
        "challenger_model": "guest.onnx",
        "trained_through": "never",
        "dry_run": True,
    },
    "dry_run": {"month": "2026-09", "dry_run": True},
}
LINEAGE_FAILS = "promote"
ALREADY_DONE = {"dry_run": "train|export|compare|decide"}
"""Tasks that a scenario takes as done: what a dry run leaves out comes after the decision."""


def main() -> None:
    telemetry = Path(os.environ["BWPREDICT_TELEMETRY"])
    for start in ("2026-08-01", "2026-09-01", "2026-10-01"):
        write_partitioned(FleetConfig(links=3, days=10, start=start, seed=5), telemetry)
    write_partitioned(FleetConfig(links=3, days=8, start="2026-11-01", seed=5), telemetry)  # three test days
    (telemetry / "date=2031-01-01").mkdir()  # the form offers the month, and there is nothing in it
    inject(telemetry, "impossible_values", ["2026-10-04"])
    guest = smoothing_onnx(ANSWER.with_name("guest.onnx"))
    open_store(os.environ["BWPREDICT_REGISTRY"]).upload(guest, challenger_key(guest.name))
    dag = in_one_process(DagBag(DAGS_FOLDER).dags["bandwidth_predictor_retrain"])
    ANSWER.write_text(json.dumps({name: run(dag, name, conf) for name, conf in SCENARIOS.items()}))


def run(dag, name: str, conf: dict) -> dict:
    log = ANSWER.with_name(f"{name}.log")
    if name == LINEAGE_FAILS:
        events = Path(json.loads(os.environ["AIRFLOW__OPENLINEAGE__TRANSPORT"])["log_file_path"])
        events.rename(events.with_suffix(".kept"))
        events.mkdir()  # OpenLineage cannot write its events any more
    with output_to(log):
        ended = dag.test(logical_date=None, run_conf=conf, mark_success_pattern=ALREADY_DONE.get(name))
    return {
        "run_id": ended.run_id,
        "state": str(ended.state),
        "tasks": {ti.task_id: str(ti.state) for ti in ended.get_task_instances()},
        "tries": {ti.task_id: ti.try_number for ti in ended.get_task_instances()},
        "area": str(Path(os.environ["BWPREDICT_WORK"]) / ended.run_id),
        "log": str(log),
        "asset_events": [event.extra for event in asset_events(ended.run_id)],
    }


def asset_events(run_id: str) -> list[AssetEvent]:
    with create_session() as session:
        return [event for event in session.query(AssetEvent).all() if event.source_run_id == run_id]


main()
