"""Fixtures that every part of the tests may use."""

import os

import pytest

# Two test processes share two cores: a thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["fixtures_alerts", "fixtures_cli", "fixtures_prometheus", "fixtures_mlflow", "fixtures_s3"]

COSTLY = {"dags/airflow", "plugin/airflow_site"}
"""Folder and name of fixtures of the session that take a minute: the files that use one run in the same process."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`--dist loadgroup` keeps the tests of a file together, and the files that share a costly fixture."""
    group = {item.path: str(item.path) for item in items}
    for item in items:
        used = {f"{item.path.parent.name}/{name}" for name in getattr(item, "fixturenames", ())}
        group[item.path] = min(used & COSTLY, default=group[item.path])
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group[item.path]))
