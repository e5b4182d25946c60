"""Fixtures that every part of the tests may use, and which files one process runs together."""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

# Two test processes share two cores: a thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["fixtures_alerts", "fixtures_cli", "fixtures_prometheus", "fixtures_mlflow", "fixtures_s3"]

RUN_WITH = {
    "tests/dags/test_lineage.py": "tests/dags/test_dag_runs.py",
    "tests/dags/test_secrets.py": "tests/dags/test_dag_runs.py",
    "tests/integration/test_runs_of_other_kinds.py": "tests/integration/test_a_month.py",
    "tests/integration/test_stack_faults.py": "tests/integration/test_a_month.py",
}
"""Files that share runs of the DAG or a stack of services, which take minutes: a second process would repeat them."""


class FileScheduling(LoadFileScheduling):
    """`--dist loadfile`, but for `RUN_WITH`."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return RUN_WITH.get(file, file)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with the longest timeouts first, so that no process is idle while another finishes a long file."""
    longest: dict[Path, float] = {}
    for item in items:
        timeout = item.get_closest_marker("timeout")
        longest[item.path] = max(longest.get(item.path, 0), timeout.args[0] if timeout else 0)
    items.sort(key=lambda item: -longest[item.path])


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
