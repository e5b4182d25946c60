from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from synth_rows import read_files

from bwpredict import schema
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.simulation.data_faults import FAULTS, inject
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.files import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_partitioned(FleetConfig(links=4, days=2, start="2026-12-01"), tmp_path)


@pytest.fixture
def rows(folder: Path) -> pd.DataFrame:
    return read_files(folder)


def test_impossible_values_are_negative_times_and_losses_above_one(rows: pd.DataFrame) -> None:
    broken = FAULTS["impossible_values"](rows)
    assert 0.004 < (broken["rtt_ms"] < 0).mean() < 0.006
    assert 0.004 < (broken["packet_loss"] > 1).mean() < 0.006


def test_a_wrong_unit_multiplies_some_links_by_a_thousand(rows: pd.DataFrame) -> None:
    factor = FAULTS["wrong_unit"](rows)["throughput_mbps"] / rows["throughput_mbps"]
    links = factor.groupby([rows[name] for name in schema.LINK_KEY]).agg(["min", "max"]).round(6)
    assert sorted(map(tuple, links.to_numpy())) == [(1, 1), (1, 1), (1000, 1000), (1000, 1000)]


def test_a_wrong_calendar_counts_from_monday(rows: pd.DataFrame) -> None:
    broken = FAULTS["wrong_calendar"](rows)
    assert np.array_equal(broken["day_of_week"], pd.to_datetime(rows["timestamp"], unit="s").dt.day_of_week)


def test_missing_values_are_nulls_in_two_columns(rows: pd.DataFrame) -> None:
    share = FAULTS["missing_values"](rows).isna().mean()
    assert list(share[share > 0].index) == ["rtt_ms", "throughput_mbps"]
    assert share.max() < 0.006


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_changes_only_the_days_asked_for_and_keeps_the_types(fault: str, folder: Path) -> None:
    paths = sorted(folder.rglob("*.parquet"))
    before = [sha256_of(path) for path in paths]
    kinds = pq.ParquetFile(paths[0]).schema_arrow
    sound = read_files(folder, "2026-12-02")
    assert inject(folder, fault, ["2026-12-02"]) == [paths[1]]
    assert sha256_of(paths[0]) == before[0]
    assert pq.ParquetFile(paths[1]).schema_arrow == kinds
    broken = read_files(folder, "2026-12-02")
    pd.testing.assert_frame_equal(broken, FAULTS[fault](sound))
    assert not broken.equals(sound)


def test_without_days_every_day_is_broken(folder: Path) -> None:
    assert len(inject(folder, "wrong_calendar")) == 2


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_leaves_the_rows_it_is_given(fault: str, rows: pd.DataFrame) -> None:
    copy = rows.copy()
    FAULTS[fault](rows)
    pd.testing.assert_frame_equal(rows, copy)


def test_an_unknown_fault_a_missing_day_and_a_pattern_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="fault: must be one of impossible_values"):
        inject(folder, "gremlins")
    with pytest.raises(TelemetryError, match="2027-01-01"):
        inject(folder, "wrong_unit", ["2027-01-01"])
    with pytest.raises(ConfigError, match="days: must be dates"):
        inject(folder, "wrong_unit", ["*"])
