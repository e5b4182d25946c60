"""The test days link by link: figures against a plain count, and a series whose size is bounded."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from link_results import DAY, bounds_of, some_forecasts

from bwpredict import schema
from bwpredict.errors import DocumentError, TelemetryError
from bwpredict.evaluation import by_link
from bwpredict.inference.confidence import confidence

BEST = dict.fromkeys(schema.TARGETS, "last_value")


def test_the_figures_are_those_of_a_plain_count():
    forecasts = some_forecasts()
    bounds = bounds_of(forecasts)
    found = by_link.accuracy_by_link(forecasts, bounds, BEST)
    assert list(found.columns) == list(by_link.ACCURACY_COLUMNS)
    row = found[(found.node_id == 11) & (found.target == "rtt_ms")].iloc[0]
    rows = forecasts.link == 1
    actual = forecasts.actual[rows, 1].astype(float)
    error = np.abs(forecasts.models["challenger"][rows, 1] - actual)
    assert row.windows == 1440
    assert row.mae == pytest.approx(error.mean())
    assert row.skill == pytest.approx(
        1 - error.mean() / np.abs(forecasts.models["last_value"][rows, 1] - actual).mean()
    )
    inside = (bounds.lower[rows, 1] <= actual) & (actual <= bounds.upper[rows, 1])
    assert row.coverage == inside.mean() == 0
    sure = confidence(forecasts.models["challenger"][rows], bounds.lower[rows], bounds.upper[rows])[:, 1]
    assert row.confidence == pytest.approx(sure.mean())
    at_seven = (forecasts.timestamps[rows] - DAY) // 3600 == 7
    assert row.mae_by_hour[7] == pytest.approx(error[at_seven].mean())
    assert found.set_index("node_id").loc[10, "coverage"].tolist() == [1.0] * 4


def test_without_champion_intervals_or_baseline_the_figures_are_undefined_and_survive_the_file(tmp_path):
    forecasts = some_forecasts(targets=("throughput_mbps", "rtt_ms"))
    models = {name: values for name, values in forecasts.models.items() if name != "champion"}
    accuracy = by_link.accuracy_by_link(replace(forecasts, models=models), None, {"throughput_mbps": None})
    assert accuracy[["champion_mae", "coverage", "confidence", "skill"]].isna().all(axis=None)
    path = by_link.write_accuracy(tmp_path / "a.parquet", accuracy)
    read = by_link.read_accuracy(path.read_bytes(), "a.parquet")
    assert read.mae.tolist() == accuracy.mae.tolist()
    assert len(read.mae_by_hour[0]) == by_link.HOURS
    series = by_link.write_series(tmp_path / "s.parquet", replace(forecasts, models=models), None, accuracy)
    kept, bounds = by_link.read_series(series.read_bytes(), "s.parquet")
    assert (list(kept.models), bounds, kept.targets) == (["challenger"], None, ("throughput_mbps", "rtt_ms"))


def test_the_series_has_the_first_window_of_each_quarter_of_an_hour(tmp_path):
    forecasts = some_forecasts(links=2)
    bounds = bounds_of(forecasts)
    accuracy = by_link.accuracy_by_link(forecasts, bounds, BEST)
    path = by_link.write_series(tmp_path / "s.parquet", forecasts, bounds, accuracy)
    kept, sides = by_link.read_series(path)
    assert kept.timestamps.tolist() == 2 * list(range(DAY, DAY + 86_400, 900))
    assert set(kept.models) == {"challenger", "champion"}
    row = np.flatnonzero((forecasts.link == 1) & (forecasts.timestamps == DAY + 9000))[0]
    place = 96 + 10
    assert kept.actual[place].tolist() == forecasts.actual[row].tolist()
    assert kept.models["champion"][place].tolist() == forecasts.models["champion"][row].tolist()
    assert (sides.lower[place].tolist(), sides.upper[place].tolist()) == (
        bounds.lower[row].tolist(),
        bounds.upper[row].tolist(),
    )


@pytest.mark.parametrize(("points", "links", "step"), [(3 * 96, 3, 900), (3 * 96 - 1, 3, 3600), (2 * 24, 2, 3600)])
def test_the_series_is_bounded_and_keeps_whole_links_the_worst_first(tmp_path, monkeypatch, points, links, step):
    monkeypatch.setattr(by_link, "MAX_POINTS", points)
    forecasts = some_forecasts()
    bounds = bounds_of(forecasts)
    accuracy = by_link.accuracy_by_link(forecasts, bounds, BEST)
    kept, _ = by_link.read_series(by_link.write_series(tmp_path / "s.parquet", forecasts, bounds, accuracy))
    assert (len(kept), len(kept.links)) == (links * 86_400 // step, links)
    assert 11 in kept.links.node_id.tolist()
    again = by_link.write_series(tmp_path / "again.parquet", forecasts, bounds, accuracy)
    assert again.read_bytes() == (tmp_path / "s.parquet").read_bytes()


def test_a_link_ranks_once_and_first_where_it_is_worst():
    accuracy = by_link.accuracy_by_link(some_forecasts(), None, BEST).assign(coverage=0.9, confidence=0.5)
    accuracy.loc[accuracy.node_id == 12, "confidence"] = 0.1
    assert by_link.ranked_links(accuracy) == [(11, 21), (10, 20), (12, 22)]


def test_a_file_that_is_none_of_these_is_one_sentence(tmp_path):
    with pytest.raises(DocumentError, match=r"^x\.parquet: cannot be read as Parquet"):
        by_link.read_accuracy(b"nothing", "x.parquet")
    pd.DataFrame({"node_id": [1]}).to_parquet(tmp_path / "one.parquet")
    with pytest.raises(DocumentError, match="holds no accuracy of links: column 'peer_id' is missing"):
        by_link.read_accuracy((tmp_path / "one.parquet").read_bytes(), "one.parquet")
    with pytest.raises(TelemetryError, match=r"^x\.parquet: cannot be read as forecasts"):
        by_link.read_series(b"nothing", "x.parquet")
