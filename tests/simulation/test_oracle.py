from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from synth_rows import read_files

from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.simulation.fleet import FleetConfig, RegimeName
from bwpredict.simulation.writer import write_partitioned

LINK = list(schema.LINK_KEY)


@pytest.fixture(scope="module", params=get_args(RegimeName))
def forecasts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Each origin with the oracle, the baselines, and what came: <target>_<which>."""
    folder = tmp_path_factory.mktemp(request.param) / "telemetry"
    config = FleetConfig(links=10, days=4, regime=request.param)
    rows = read_files(write_partitioned(config, folder, oracle=True))
    joined = rows.merge(read_files(folder.parent / "oracle"), on=[*LINK, "timestamp"], validate="one_to_one")
    assert len(joined) == len(rows)
    by_link = joined.groupby(LINK)
    columns = {}
    for name in schema.TARGETS:
        columns[f"{name}_actual"] = by_link[name].shift(-schema.HORIZON_MINUTES)
        columns[f"{name}_last"] = joined[name]
        columns[f"{name}_mean15"] = by_link[name].transform(lambda values: values.rolling(15).mean())
        columns[f"{name}_oracle"] = joined[f"oracle_{name}"]
    return pd.DataFrame(columns).dropna()


@pytest.mark.parametrize("target", schema.TARGETS)
def test_the_oracle_beats_both_baselines_by_a_tenth_and_more(forecasts: pd.DataFrame, target: str) -> None:
    error = {
        which: (forecasts[f"{target}_{which}"] - forecasts[f"{target}_actual"]).abs().mean()
        for which in ("last", "mean15", "oracle")
    }
    assert error["oracle"] < 0.9 * min(error["last"], error["mean15"])


@pytest.mark.parametrize("target", schema.TARGETS)
def test_what_comes_lies_above_the_oracle_as_often_as_below(forecasts: pd.DataFrame, target: str) -> None:
    above = (forecasts[f"{target}_actual"] > forecasts[f"{target}_oracle"]).mean()
    assert 0.45 < above < 0.57


@pytest.mark.parametrize("target", schema.TARGETS)
@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_no_constant_factor_makes_the_oracle_better(forecasts: pd.DataFrame, target: str, factor: float) -> None:
    actual, oracle = forecasts[f"{target}_actual"], forecasts[f"{target}_oracle"]
    assert (factor * oracle - actual).abs().mean() > (oracle - actual).abs().mean()


def test_a_shorter_horizon_is_easier(tmp_path: Path) -> None:
    errors = []
    for horizon in (2, 15):
        folder = tmp_path / str(horizon)
        config = FleetConfig(links=4, days=1)
        rows = read_files(
            write_partitioned(config, folder, oracle=True, oracle_folder=tmp_path / "o", horizon_minutes=horizon)
        )
        actual = rows.groupby(LINK)["throughput_mbps"].shift(-horizon)
        errors.append(np.nanmean(np.abs(read_files(tmp_path / "o")["oracle_throughput_mbps"] / actual - 1)))
    assert errors[0] < 0.7 * errors[1]


def test_the_oracle_needs_a_horizon_it_can_see(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="horizon_minutes"):
        write_partitioned(FleetConfig(links=1, days=1), tmp_path / "t", oracle=True, horizon_minutes=0)
    assert not list(tmp_path.iterdir())
