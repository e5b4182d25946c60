"""The best of the earlier champions on the test windows."""

from datetime import UTC, datetime

import numpy as np
import pytest
from published_versions import published_month, published_months
from tiny_onnx import last_value_onnx

from bwpredict import schema
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_windows
from bwpredict.evaluation.forecasts import collect
from bwpredict.inference.onnx_model import forecast
from bwpredict.pipeline.anchor import EarlierChampion, compare_with_earlier
from bwpredict.pipeline.seen_days import days_seen, split_by_seen
from bwpredict.registry.history import earlier_champions, read_history
from bwpredict.registry.promotion import rollback
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

NONE = np.empty(0, np.int64)
WEIGHTS = dict.fromkeys(schema.TARGETS, 1.0)


def champion(path):
    return EarlierChampion(path, NONE)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    telemetry = write_partitioned(FleetConfig(links=2, days=5, seed=3), tmp_path_factory.mktemp("telemetry") / "days")
    return index_windows(read_data_path(telemetry), 20, 15)


@pytest.fixture
def judged(index, tmp_path):
    """Forecasts of a challenger that says a tenth too much."""
    challenger = last_value_onnx(tmp_path / "challenger.onnx", factor=1.1)
    return collect(index, {"challenger": forecast(challenger, index)})


def test_the_challenger_is_compared_with_the_earlier_champion_that_was_best(index, judged, tmp_path):
    factors = {"v20260101_000000": 1.5, "v20260201_000000": 1.0, "v20260301_000000": 2.0}
    earlier = {name: champion(last_value_onnx(tmp_path / f"{name}.onnx", factor=f)) for name, f in factors.items()}
    found = compare_with_earlier(earlier, index, judged, WEIGHTS)
    assert (found["version"], found["candidates"]) == ("v20260201_000000", list(earlier))
    assert found["difference"]["days"]["count"] == 5
    assert found["difference"]["weighted"]["low"] > 0


def test_a_model_for_other_windows_is_left_out_with_the_reason(index, judged, tmp_path):
    other = last_value_onnx(tmp_path / "other.onnx", window_size=30)
    found = compare_with_earlier({"v20260101_000000": champion(other)}, index, judged, WEIGHTS)
    assert (found["version"], found["difference"]) == (None, None)
    assert "30" in found["left_out"]["v20260101_000000"]


def test_a_model_that_was_trained_on_a_test_day_is_left_out(index, judged, tmp_path):
    seen = index.frame.timestamps[:1] // 86_400
    earlier = {"v20260101_000000": EarlierChampion(last_value_onnx(tmp_path / "known.onnx"), seen)}
    found = compare_with_earlier(earlier, index, judged, WEIGHTS)
    assert found["version"] is None
    assert "trained on some of the test days" in found["left_out"]["v20260101_000000"]


def test_days_that_a_model_has_seen_are_left_out_by_name(index):
    parts = {
        "train": {"start": "2026-10-01T00:00:00+00:00", "end": "2026-10-02T00:00:00+00:00"},
        "validation": {"start": "2026-10-02T00:35:00+00:00", "end": "2026-10-02T12:00:00+00:00"},
        "test": {"start": "2026-10-03T00:35:00+00:00", "end": "2026-10-06T00:00:00+00:00"},
    }
    seen = days_seen({"data": {"split": {"by": "calendar", "parts": parts}}})
    kept, dates = split_by_seen(index, seen)
    assert dates == ["2026-10-01", "2026-10-02"]
    days = kept.frame.timestamps[kept.target_rows] // 86_400
    assert sorted({str(day) for day in days.astype("datetime64[D]")}) == [f"2026-10-0{day}" for day in (3, 4, 5)]
    assert len(days_seen({"data": {"split": {"by": "link", "parts": parts}}})) == 2
    assert split_by_seen(index, seen[:0]) == (index, [])


def test_without_earlier_champions_there_is_no_anchor(index, judged):
    assert compare_with_earlier({}, index, judged, WEIGHTS) is None


def test_the_earlier_champions_are_those_that_served_before_and_were_not_rolled_back(tmp_path):
    uri = str(tmp_path / "registry")
    moves = published_months(uri, tmp_path, 3)
    store = open_store(uri)
    rollback(store, promoted_by="test", now=datetime(2026, 12, 1, tzinfo=UTC))
    latest = published_month(store, tmp_path, 3, champion=moves[1].version)
    history = read_history(store)
    assert earlier_champions(history, latest.version, 12) == [moves[0].version, moves[1].version]
    assert earlier_champions(history, latest.version, 1) == [moves[1].version]
    assert earlier_champions(history, moves[0].version, 12) == []
