"""Slices of the test windows: what they are, and that a worse one is found and an equal one is not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from frames import whole_days

from bwpredict.datasets.windows import index_windows
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.horizon import errors_by_minute
from bwpredict.evaluation.slices import CONGESTED, FEWEST_BLOCKS, NEW_LINK, compare_slices, slices, window_labels
from bwpredict.schema import FEATURES, TARGETS

LINKS, DAYS, PER_DAY = 16, 8, 12
REGIONS = [("us-east", "eu-west", "ap-south", "sa-east")[link % 4] for link in range(LINKS)]


def forecasts_with(**attributes):
    number = np.arange(LINKS * DAYS * PER_DAY)
    zeros = np.zeros((len(number), len(TARGETS)), np.float32)
    return Forecasts(
        targets=TARGETS,
        actual=zeros,
        models={"challenger": zeros, "champion": zeros},
        link=number // (DAYS * PER_DAY),
        timestamps=number // PER_DAY % DAYS * 86_400 + number % PER_DAY * 7200,
        links=pd.DataFrame({"node_id": range(LINKS), "peer_id": range(LINKS), **attributes}),
    )


def compared(forecasts, errors):
    models = {name: values.astype(np.float32) for name, values in errors.items()}  # above an actual value of 0
    document = compare_slices(replace(forecasts, models=models), np.ones_like(errors["challenger"]))
    return {(row["attribute"], row["value"]): row for row in document["rows"]} | {"document": document}


def drawn_errors(generator):
    """Of equal models, hard and easy days."""
    hard = generator.gamma(9, 1 / 9, LINKS * DAYS).repeat(PER_DAY)[:, None]
    shape = (LINKS * DAYS * PER_DAY, len(TARGETS))
    return {name: hard * generator.exponential(size=shape) for name in ("challenger", "champion")}


@pytest.fixture(autouse=True)
def small_support(monkeypatch):
    monkeypatch.setattr("bwpredict.evaluation.slices.FEWEST_WINDOWS", 100)


def test_a_region_that_got_worse_is_the_only_slice_beyond_its_margin():
    forecasts = forecasts_with(region=REGIONS)
    errors = drawn_errors(np.random.default_rng(1))
    errors["challenger"][np.array(REGIONS)[forecasts.link] == "eu-west", 1] *= 1.8
    rows = compared(forecasts, errors)
    assert rows["region", "eu-west"]["per_target"]["rtt_ms"]["worse_by_at_least"] > 3
    assert rows["region", "us-east"]["per_target"]["rtt_ms"]["worse_by_at_least"] < 3
    assert rows["region", "eu-west"]["per_target"]["jitter_ms"]["worse_by_at_least"] < 3


def test_of_equal_models_any_slice_is_worse_in_at_most_5_of_100_comparisons(monkeypatch):
    monkeypatch.setattr("bwpredict.evaluation.bootstrap.Blocks.draw.__defaults__", (4000, 0))
    generator, forecasts = np.random.default_rng(2), forecasts_with(region=REGIONS)
    alarms = 0
    for _ in range(100):
        rows = compared(forecasts, drawn_errors(generator))["document"]["rows"]
        bounds = [figures["worse_by_at_least"] for row in rows for figures in row["per_target"].values()]
        alarms += any(bound is not None and bound > 0 for bound in bounds)
    assert alarms <= 9  # 95 % of repetitions, where the chance is 5 in 100


def test_a_slice_with_few_windows_or_blocks_is_shown_and_does_not_decide():
    lonely = ["far" if link == 0 else "near" for link in range(LINKS)]
    rows = compared(forecasts_with(region=lonely), drawn_errors(np.random.default_rng(3)))
    far = rows["region", "far"]
    assert far["blocks"] == DAYS < FEWEST_BLOCKS
    assert not far["supported"]
    assert far["per_target"]["rtt_ms"]["worse_by_at_least"] is None
    assert far["per_target"]["rtt_ms"]["percent"] is not None
    assert rows["region", "near"]["supported"]


def test_missing_attributes_make_no_slices_and_are_named():
    document = compared(forecasts_with(region=["one"] * LINKS), drawn_errors(np.random.default_rng(4)))["document"]
    assert {row["attribute"] for row in document["rows"]} == {"hour_band"}
    told = " ".join(document["left_out"])
    assert "link_type: the telemetry does not say." in told
    assert "region: the same for all test windows" in told


def test_smaller_errors_never_raise_what_a_slice_is_worse_by():
    forecasts, errors = forecasts_with(region=REGIONS), drawn_errors(np.random.default_rng(5))
    worse = compared(forecasts, errors)["document"]["rows"]
    shrunk = errors["challenger"] * np.random.default_rng(6).uniform(0, 1, errors["challenger"].shape)
    better = compared(forecasts, errors | {"challenger": shrunk})["document"]["rows"]
    for one, other in zip(worse, better, strict=True):
        for target in TARGETS:
            bounds = [row["per_target"][target]["worse_by_at_least"] for row in (one, other)]
            assert bounds[1] <= bounds[0] + 1e-9


def test_without_a_champion_a_slice_has_its_error_and_skill_alone():
    errors = drawn_errors(np.random.default_rng(7))
    rows = compared(forecasts_with(region=REGIONS), {"challenger": errors["challenger"]})
    figures = rows["region", "us-east"]["per_target"]["rtt_ms"]
    assert figures["percent"] is figures["champion_mae"] is None
    assert figures["skill"] == pytest.approx(1 - figures["mae"])
    assert rows["document"]["comparisons"] == 0


def test_slices_of_an_attribute_share_no_window_and_together_hold_all():
    forecasts = forecasts_with(region=REGIONS, link_type=["wan", "edge"] * (LINKS // 2))
    for attribute in ("region", "link_type", "hour_band"):
        held = sum(one.rows.astype(int) for one in slices(forecasts) if one.attribute == attribute)
        assert (held == 1).all()


def test_a_window_is_congested_when_the_queue_of_its_own_link_was_long_before_the_forecast():
    index = index_windows(whole_days(1, links=2), 20, 15)
    queue = index.frame.values[:, FEATURES.index("queue_depth")]
    queue[:] = 3.0
    last = index.starts + index.window_size - 1
    long = last[index.frame.link[last] == 0][:5]
    queue[long] = 50.0
    labels = window_labels(index, known_links=frozenset())
    assert set(last[labels[CONGESTED] == "yes"]) == set(long)


def test_a_link_is_new_unless_it_is_among_the_known_ones():
    index = index_windows(whole_days(1, links=2), 20, 15)
    first = tuple(index.frame.links[["node_id", "peer_id"]].iloc[0])
    labels = window_labels(index, known_links=frozenset({first}))[NEW_LINK]
    assert [set(labels[index.frame.link[index.target_rows] == link]) for link in (0, 1)] == [{"no"}, {"yes"}]


def test_errors_of_simple_forecasts_by_minute_are_those_of_the_samples_on_the_way():
    index = index_windows(whole_days(1, links=2), 20, 15).take(np.arange(40))
    found = errors_by_minute(index, TARGETS)
    assert found["minutes"] == [float(minute) for minute in range(1, 16)]
    last = index.starts + 19
    for minute in (1, 7, 15):
        slow = np.mean(
            [abs(float(index.frame.values[row, 1]) - float(index.frame.values[row + minute, 1])) for row in last]
        )
        assert found["mae"]["last_value"]["rtt_ms"][minute - 1] == pytest.approx(slow)
