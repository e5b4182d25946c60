from pathlib import Path

import pandas as pd
import pytest
from synth_rows import read_files

from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned


@pytest.fixture(scope="session")
def calm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calm") / "telemetry"
    return write_partitioned(FleetConfig(links=12, days=3, start="2026-10-30"), folder)


@pytest.fixture(scope="session", params=["calm", "congested", "drifting"])
def telemetry(
    request: pytest.FixtureRequest, calm_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    """Telemetry of each regime."""
    if request.param == "calm":
        return read_files(calm_folder)
    folder = tmp_path_factory.mktemp(request.param)
    return read_files(write_partitioned(FleetConfig(links=12, days=2, regime=request.param), folder))
