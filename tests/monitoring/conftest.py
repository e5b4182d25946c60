from pathlib import Path

import pytest
from monitored import FIRST, publish_three

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store


@pytest.fixture(scope="session")
def telemetry(tmp_path_factory):
    """The last days of October and the first of November, of ten links."""
    folder = tmp_path_factory.mktemp("telemetry")
    write_partitioned(FleetConfig(links=10, days=10, start=FIRST.isoformat(), seed=3), folder)
    return open_store(str(folder))


@pytest.fixture
def registry(tmp_path: Path):
    store = open_store(str(tmp_path / "registry"))
    publish_three(store, tmp_path)
    return store
