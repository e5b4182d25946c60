"""Read the DAG folder as Airflow does, and write what it found as JSON.

Each line of standard input is a JSON array of the file to write and the variables to set; a process forked for it does
so, and its exit code is a line of standard output: importing Airflow takes longer than reading the DAGs.
"""

import json
import os
import sys
from pathlib import Path

from airflow import plugins_manager
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.encoders import ensure_serialized_deadline_alert
from airflow.serialization.serialized_objects import DagSerialization
from airflow.settings import DAGS_FOLDER

HEAVY = ("torch", "great_expectations", "matplotlib", "onnxruntime", "onnx", "scipy", "boto3", "apprise")


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to the standard output
    for line in sys.stdin:
        child = os.fork()
        if not child:
            answer, environment = json.loads(line)
            os.environ.update(environment)
            Path(answer).write_text(json.dumps(facts()))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def facts() -> dict:
    before = set(sys.modules)
    bag = DagBag(DAGS_FOLDER)
    loaded = sorted({name for name in HEAVY if name in sys.modules} - before)
    _, plugin_errors = plugins_manager._get_plugins()
    return {
        "heavy_modules": loaded,
        "import_errors": {**bag.import_errors, **plugin_errors},
        "warnings": bag.captured_warnings,
        "dags": {dag_id: describe(dag) for dag_id, dag in bag.dags.items()},
    }


def describe(dag) -> dict:
    DagSerialization.serialize_dag(dag)
    return {
        "file": Path(dag.fileloc).stem,
        "doc": dag.doc_md,
        "timetable": type(dag.timetable).__name__,
        "cron": getattr(dag.timetable, "summary", None),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "run_timeout_s": dag.dagrun_timeout.total_seconds(),
        "alerts": [type(callback).__name__ for callback in as_list(dag.on_failure_callback)],
        "groups": {name: sorted(group.children) for name, group in dag.task_group_dict.items() if name},
        "deadlines": [
            {
                "callback": alert.callback.path,
                "interval_s": alert.interval.total_seconds(),
                "reference": ensure_serialized_deadline_alert(alert).reference.reference_name,
            }
            for alert in as_list(dag.deadline or [])
        ],
        "assets": assets_of(dag.timetable),
        "params": {name: dag.params.get_param(name).dump() for name in dag.params},
        "tasks": [describe_task(task) for task in dag.topological_sort()],
    }


def assets_of(timetable) -> list[str]:
    condition = getattr(timetable, "asset_condition", None)
    return [asset.name for asset in condition.objects] if condition else []


def describe_task(task) -> dict:
    return {
        "id": task.task_id,
        "downstream": sorted(task.downstream_task_ids),
        "doc": task.doc_md,
        "owner": task.owner,
        "timeout_s": task.execution_timeout and task.execution_timeout.total_seconds(),
        "retries": task.retries,
        "rules": [
            (rule.exception_path.rsplit(".")[-1], rule.action.value)
            for rule in (task.retry_policy.rules if task.retry_policy else [])
        ],
        "queue": task.queue,
        "pool": task.pool,
        "priority": [task.priority_weight, str(getattr(task.weight_rule, "value", task.weight_rule))],
        "mapped": task.is_mapped,
        "links": sorted(link.name for link in task.operator_extra_links),
        "triggers": {"run_id": task.trigger_run_id, "conf": task.conf} if hasattr(task, "trigger_run_id") else None,
        "outlets": [outlet.name for outlet in task.outlets],
        "alerts": [type(callback).__name__ for callback in as_list(task.on_failure_callback)],
    }


def as_list(value) -> list:
    return value if isinstance(value, list) else list(value or []) if isinstance(value, tuple) else [value]


main()
