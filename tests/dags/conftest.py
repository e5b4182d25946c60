"""An Airflow of its own for these tests, in a folder of its own: the environment is that of `make up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fixtures_alerts import running_receiver
from planted import ALERT_PASSWORD, planted

REPOSITORY = Path(__file__).resolve().parents[2]

# For the tests that import Airflow themselves: it would make its home in the user's.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))
sys.path.append(str(REPOSITORY / "plugins"))

IN_ITS_ENVIRONMENT = '. scripts/airflow-env.sh; [ "$(type -t "$1")" = function ] || exec "$@"; "$@"'


@dataclass(frozen=True)
class LocalAirflow:
    """Runs programs in the environment of `scripts/airflow-env.sh`, with all state under `root`."""

    root: Path

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(**self._arguments(command, environment), capture_output=True, check=False)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program that a test talks to over its standard input and output; its log is `<program>.log`."""
        log = (self.root / f"{Path(command[-1]).name}.log").open("w")
        with log:
            return subprocess.Popen(
                **self._arguments(command, {}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )

    def _arguments(self, command: tuple[str, ...], environment: dict[str, str]) -> dict[str, Any]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BWPREDICT"))}
        return {
            "args": ["bash", "-c", IN_ITS_ENVIRONMENT, "bash", *command],
            "cwd": REPOSITORY,
            "env": {**kept, "ROOT": str(self.root), **environment},
            "text": True,
        }

    def json_of(self, program: str, *arguments: str, **environment: str) -> Any:
        """What the Python program beside this file writes to the path in its first argument."""
        answer = self.root / f"{program}.json"
        done = self.run(sys.executable, str(Path(__file__).with_name(program)), str(answer), *arguments, **environment)
        (self.root / f"{program}.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(answer.read_text())


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> LocalAirflow:
    local = LocalAirflow(tmp_path_factory.mktemp("airflow"))
    done = local.run("prepare_airflow")
    assert done.returncode == 0, done.stdout + done.stderr
    return local


@pytest.fixture(scope="session")
def describe_dags(airflow: LocalAirflow) -> Iterator[Callable[..., dict[str, Any]]]:
    """What Airflow knows of the DAGs after it has read the DAG folder with the variables given."""
    answer = airflow.root / "describe_dags.json"
    with airflow.start(sys.executable, str(Path(__file__).with_name("describe_dags.py"))) as program:

        def describe(**environment: str) -> dict[str, Any]:
            print(json.dumps([str(answer), environment]), file=program.stdin, flush=True)
            assert program.stdout.readline() == "0\n", (airflow.root / "describe_dags.py.log").read_text()[-3000:]
            return json.loads(answer.read_text())

        yield describe
        program.stdin.close()


@pytest.fixture(scope="session")
def facts(describe_dags: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What Airflow knows of the DAGs as they are."""
    return describe_dags()


@dataclass(frozen=True)
class Scenarios:
    """How each run of `run_scenarios.py` ended, the alerts that were sent meanwhile, and the registry after it all."""

    runs: dict[str, dict[str, Any]]
    alerts: list[dict[str, Any]]
    registry: Path
    lineage: list[dict[str, Any]]
    """OpenLineage's events, up to the run `promote`, for which its transport failed."""

    def log_of(self, name: str) -> str:
        return Path(self.runs[name]["log"]).read_text()


@pytest.fixture(scope="session")
def scenarios(airflow: LocalAirflow) -> Iterator[Scenarios]:
    with running_receiver() as receiver:
        url = receiver.url(f"alert:{ALERT_PASSWORD}@")
        helpers = os.pathsep.join(str(REPOSITORY / folder) for folder in ("tests/helpers", "benchmarks"))
        events = airflow.root / "lineage.jsonl"
        transport = json.dumps({"type": "file", "log_file_path": str(events), "append": True})
        runs = airflow.json_of(
            "run_scenarios.py",
            BWPREDICT_ALERT_URLS=url,
            PYTHONPATH=helpers,
            AIRFLOW__OPENLINEAGE__TRANSPORT=transport,
            AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD="True",
            **planted(airflow.root),
        )
        lineage = [json.loads(line) for line in events.with_suffix(".kept").read_text().splitlines()]
        yield Scenarios(runs, receiver.received, airflow.root / "registry", lineage)
