"""One stack for all of these tests: it takes a minute to start. They run in the order of the files' names."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from lenient_gate import LENIENT
from runs import EXAMPLE, Api, Registry, months_ago
from stack import Stack, running_stack

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

LINKS, DAYS = 3, 10
TINY = {"epochs": 1, "windows_per_epoch": 640, "seed": 7, "gate_overrides": LENIENT}
"""The network that trains fastest: these tests are about everything else."""
TRAINING_FILE = "format: 1\nname: tiny\ntraining: {validation_windows: 640}\n"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Up and healthy, with the telemetry of three months in its bucket."""
    folder = Path(tempfile.mkdtemp(prefix="bwpredict-stack-"))
    folder.chmod(0o755)  # PostgreSQL's user must find its own folder in it.
    tiny = folder / "tiny.yaml"
    tiny.write_text(TRAINING_FILE)
    try:
        with running_stack(folder, {**TINY, "training_config": str(tiny)}) as stack:
            for number in (1, 2, 3):
                fleet = FleetConfig(links=LINKS, days=DAYS, start=f"{months_ago(number)}-01", seed=5)
                telemetry = write_partitioned(fleet, folder / "made")
            client = Registry(stack).client
            for path in telemetry.rglob("*.parquet"):
                client.upload_file(str(path), "bwpredict-telemetry", str(path.relative_to(telemetry)))
            yield stack
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def api(stack: Stack) -> Api:
    return Api(stack)


@pytest.fixture(scope="session")
def registry(stack: Stack) -> Registry:
    return Registry(stack)


@pytest.fixture(scope="session")
def monthly(api: Api) -> str:
    """The run for last month, which publishes the first model; it may be on or have ended."""
    api.unpause(EXAMPLE)
    api.unpause()
    return api.trigger()
