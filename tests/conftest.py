"""Fixtures that every part of the tests may use, and which files one process runs together."""

import os

import pytest
from xdist.scheduler import LoadFileScheduling

# Two test processes share two cores: a thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["fixtures_alerts", "fixtures_cli", "fixtures_prometheus", "fixtures_mlflow", "fixtures_s3"]

RUN_WITH = {
    "tests/dags/test_lineage.py": "tests/dags/test_dag_runs.py",
    "tests/dags/test_secrets.py": "tests/dags/test_dag_runs.py",
}
"""They look at the same runs of the DAG, which take minutes: a second process would make them again."""


class FileScheduling(LoadFileScheduling):
    """`--dist loadfile`, but for `RUN_WITH`."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return RUN_WITH.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
