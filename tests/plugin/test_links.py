"""What the pages of links show, without a server: order, search, pages, and the data of the chart."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from link_results import DAY, link_files, some_forecasts
from published_versions import published_month

from bwpredict.core.consumer_rules import ConsumerRules
from bwpredict.errors import ObjectCorruptError, ObjectMissingError
from bwpredict.inference.onnx_model import Bounds
from bwpredict.registry.layout import LINK_SERIES_NAME, model_key
from bwpredict.schema import TARGETS
from bwpredict.store.factory import open_store

sys.path.append(str(Path(__file__).resolve().parents[2] / "plugins"))
links = pytest.importorskip("bwpredict_airflow.webapp.links")
link_consumer = pytest.importorskip("bwpredict_airflow.webapp.link_consumer")


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "registry"))


@pytest.fixture
def version(store, tmp_path):
    return published_month(store, tmp_path, 0, extra=link_files(tmp_path)).version


def names(found):
    return [row["link"] for row in found.rows]


def ranked(store, version):
    """The figures, with a skill of their own for each link."""
    accuracy = links.link_accuracy(store, version)
    return accuracy.assign(skill=accuracy.node_id.map({11: -0.1, 10: 0.2, 12: 0.3}))


def test_the_list_begins_with_the_link_whose_figure_is_lowest_and_undefined_ones_come_last(store, version):
    accuracy = ranked(store, version)
    for figure in ("coverage", "confidence"):
        accuracy.loc[accuracy.node_id == 11, figure] = np.nan
    accuracy.loc[accuracy.node_id == 12, "confidence"] = 0.1
    accuracy.loc[accuracy.node_id == 10, "coverage"] = 0.2
    expected = {"worst": "11-21 10-20 12-22", "anomalous": "10-20 12-22 11-21", "uncertain": "12-22 10-20 11-21"}
    for sort, order in expected.items():
        found = links.link_list(accuracy, "jitter_ms", sort=sort, find="", first=0)
        assert (names(found), found.total) == (order.split(), 3)
    assert found.rows[-1]["confidence"] == "n/a"


def test_a_search_is_for_the_text_as_it_is_and_pages_follow_each_other(store, version, monkeypatch):
    accuracy = ranked(store, version)
    assert names(links.link_list(accuracy, "rtt_ms", sort="worst", find=" 0-2", first=0)) == ["10-20"]
    assert names(links.link_list(accuracy, "rtt_ms", sort="worst", find=".*", first=0)) == []
    monkeypatch.setattr(links, "LINKS_ON_A_PAGE", 2)
    first = links.link_list(accuracy, "rtt_ms", sort="worst", find="", first=0)
    second = links.link_list(accuracy, "rtt_ms", sort="worst", find="", first=first.next)
    assert (names(first) + names(second), second.next) == (["11-21", "10-20", "12-22"], None)


def test_the_chart_has_truth_forecast_interval_and_champion_and_is_broken_in_a_gap(store, tmp_path):
    forecasts = some_forecasts()
    kept = (forecasts.timestamps < DAY + 6 * 3600) | (forecasts.timestamps >= DAY + 9 * 3600)
    with_gap = replace(
        forecasts,
        actual=forecasts.actual[kept],
        models={name: values[kept] for name, values in forecasts.models.items()},
        link=forecasts.link[kept],
        timestamps=forecasts.timestamps[kept],
    )
    version = published_month(store, tmp_path, 0, extra=link_files(tmp_path, with_gap)).version
    view = links.link_view(store, version, "12-22", "packet_loss")
    series = view.series
    assert len(series["times"]) == 96 - 12 + 1
    assert series["actual"].count(None) == series["upper"].count(None) == 1
    assert series["times"] == sorted(series["times"])
    row = np.flatnonzero((forecasts.link == 2) & (forecasts.timestamps == DAY + 900))[0]
    for name, values in (("actual", forecasts.actual), ("champion", forecasts.models["champion"])):
        assert series[name][1] == pytest.approx(100 * float(values[row, 2]), rel=1e-6)
    assert len(view.values) == 84
    assert (view.figures["windows"], view.hours[0][0], view.hours[7][1]) == (f"{21 * 60:,}", "00:00", "n/a")
    assert [each.name for each in view.by_hour.series] == [links.MODEL, links.CHAMPION]


def test_the_link_shows_what_the_consumer_would_have_set_and_what_that_costs(store, version):
    view = links.link_view(store, version, "11-21", "rtt_ms").consumer
    assert "at 96 of 96 points" in view.sentence
    assert [chart.title for chart in view.charts] == ["Streams", "Buffer, bytes"]
    assert [series.name for series in view.charts[0].series] == ["Perfect knowledge", links.MODEL, links.CHAMPION]
    regrets = {row[1]: row[3] for row in view.rows if row[0] == "Buffer, bytes"}
    assert regrets["Perfect knowledge"] == "0 %"
    assert {who: len(row) for who, row in regrets.items()}.keys() == {"Perfect knowledge", links.MODEL, links.CHAMPION}


def test_a_version_without_a_target_shows_no_consumer_whose_confidence_nobody_knows(store, tmp_path):
    kept = link_files(tmp_path, some_forecasts(targets=TARGETS[:3]))
    version = published_month(store, tmp_path, 0, extra=kept).version
    view = links.link_view(store, version, "11-21", "rtt_ms")
    assert (view.series is not None, view.consumer) == (True, None)


def test_a_regret_is_in_percent_of_the_setting_by_perfect_knowledge():
    rules = ConsumerRules.model_validate(
        {
            "name": "test",
            "minimum_confidence": 0.5,
            "settings": {"window": {"minimum": 1, "terms": [{"factor": 2, "of": ["rtt_ms"]}]}},
            "surplus_cost": 1,
            "shortfall_cost": 3,
        },
        strict=False,
    )
    ones = np.ones(4)
    flat = dict.fromkeys(TARGETS, ones)
    values = {
        link_consumer.PERFECT: flat | {"rtt_ms": np.array([10.0, 10, 10, 10])},
        link_consumer.MODEL: flat | {"rtt_ms": np.array([11.0, 9, 10, 99])},
    }
    output = np.stack([values[link_consumer.MODEL][name] for name in TARGETS], axis=-1)
    width = np.array([0.1, 0.1, 0.1, 50])[:, None] * output
    view = link_consumer.consumer_view(
        rules, DAY + 900 * np.arange(4), values, Bounds(output - width, output + width, 0.9)
    )
    assert "at 3 of 4 points" in view.sentence
    assert view.rows == [("Window", "Perfect knowledge", "20", "0 %"), ("Window", "This model", "20", "13.3 %")]


def test_a_link_without_champion_has_none_in_chart_and_table(store, tmp_path):
    forecasts = some_forecasts()
    alone = replace(forecasts, models={k: v for k, v in forecasts.models.items() if k != "champion"})
    version = published_month(store, tmp_path, 0, extra=link_files(tmp_path, alone)).version
    view = links.link_view(store, version, "10-20", "rtt_ms")
    assert "champion" not in view.series
    assert (view.values[0][-1], view.figures["champion_mae"]) == ("n/a", "n/a")
    assert [each.name for each in view.by_hour.series] == [links.MODEL]


def test_a_link_whose_forecasts_were_not_kept_has_its_figures(store, tmp_path, monkeypatch):
    monkeypatch.setattr("bwpredict.evaluation.by_link.MAX_POINTS", 24)
    version = published_month(store, tmp_path, 0, extra=link_files(tmp_path)).version
    assert links.link_view(store, version, "11-21", "rtt_ms").series
    view = links.link_view(store, version, "12-22", "rtt_ms")
    assert (view.series, view.values, view.figures["windows"]) == (None, [], "1,440")


def test_what_is_not_there_or_was_changed_is_one_sentence(store, version, tmp_path):
    with pytest.raises(ObjectMissingError, match="no test windows of link 1-1 for RTT"):
        links.link_view(store, version, "1-1", "rtt_ms")
    without = published_month(store, tmp_path, 1, champion=version).version
    with pytest.raises(ObjectMissingError, match="has no test days link by link"):
        links.link_accuracy(store, without)
    (tmp_path / "registry" / model_key(version, LINK_SERIES_NAME)).write_bytes(b"changed")
    with pytest.raises(ObjectCorruptError, match="do not match"):
        links.link_view(store, version, "10-20", "rtt_ms")
