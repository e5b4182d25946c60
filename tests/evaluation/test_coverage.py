"""How often intervals hold what came true: in all and in slices, and null where that is undefined."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.documents import encode_document
from bwpredict.errors import DocumentError
from bwpredict.evaluation.baselines import BASELINES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.coverage import coverage
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.slices import HOUR_BAND, hour_bands
from bwpredict.inference.onnx_model import Bounds

WINDOWS = 600
NEW = {"challenger_version": "v20261101_000000", "challenger_sha256": "a" * 64}


def some_forecasts(targets=schema.TARGETS):
    generator = np.random.default_rng(4)
    actual = generator.lognormal(0, 1, (WINDOWS, len(targets))).astype(np.float32)
    attributes = {
        "region": ["us-east", "eu-west", None],
        "az": ["a", "b", "c"],
        "link_type": ["dc", "dc", "wan"],
        "network_tier": ["Premium"] * 3,
    }
    return Forecasts(
        targets=tuple(targets),
        actual=actual,
        models={name: actual * np.float32(1.1) for name in ("challenger", *BASELINES)},
        link=np.repeat(np.arange(3), WINDOWS // 3),
        timestamps=1_793_000_000 + 200 * np.arange(WINDOWS),
        links=pd.DataFrame({"node_id": range(3), "peer_id": range(3), **attributes}),
    )


def some_bounds(seed=0):
    generator = np.random.default_rng(seed)
    lower = generator.lognormal(-1, 1, (WINDOWS, 4)).astype(np.float32)
    return Bounds(lower, lower + generator.lognormal(0, 1, lower.shape).astype(np.float32), 0.9)


@pytest.fixture
def forecasts():
    return some_forecasts()


def test_coverage_and_width_are_those_of_a_plain_count(forecasts):
    bounds = some_bounds()
    found = coverage(forecasts, bounds)
    assert found["level"] == 0.9
    for place, target in enumerate(schema.TARGETS):
        rows = zip(bounds.lower[:, place], forecasts.actual[:, place], bounds.upper[:, place], strict=True)
        held = sum(bool(low <= value <= high) for low, value, high in rows)
        assert found["per_target"][target]["coverage"] == held / WINDOWS
        assert found["per_target"][target]["mean_width"] == pytest.approx(
            float(np.mean(bounds.upper[:, place].astype(float) - bounds.lower[:, place]))
        )


def test_a_bound_that_is_just_met_holds(forecasts):
    found = coverage(forecasts, Bounds(forecasts.actual, forecasts.actual, 0.9))
    assert all(figures == {"coverage": 1.0, "mean_width": 0.0} for figures in found["per_target"].values())


def test_bounds_out_of_order_hold_nothing(forecasts):
    found = coverage(forecasts, Bounds(forecasts.actual + 1, forecasts.actual - 1, 0.9))
    assert all(figures["coverage"] == 0 for figures in found["per_target"].values())


def test_slices_are_by_known_attributes_save_the_zone_and_by_the_hour_of_the_target(forecasts):
    slices = coverage(forecasts, some_bounds())["slices"]
    assert slices.keys() == {"region", "link_type", "network_tier", HOUR_BAND}
    assert slices["region"].keys() == {"us-east", "eu-west"}
    assert {name: row["windows"] for name, row in slices["link_type"].items()} == {"dc": 400, "wan": 200}
    assert slices[HOUR_BAND].keys() == {"00-06", "06-12", "12-18", "18-24"}


@given(st.integers(0, 1000))
def test_the_slices_of_a_whole_attribute_add_up_to_the_coverage_of_all(seed):
    found = coverage(some_forecasts(), some_bounds(seed))
    for attribute in ("link_type", "network_tier", HOUR_BAND):
        rows = found["slices"][attribute].values()
        for target in schema.TARGETS:
            total = sum(row["windows"] * row[target] for row in rows)
            assert total == pytest.approx(WINDOWS * found["per_target"][target]["coverage"])


def test_the_hours_are_those_of_the_calendar():
    seconds = np.array([0, 6 * 3600 - 1, 6 * 3600, 23 * 3600 + 3599, 24 * 3600])
    assert hour_bands(seconds).tolist() == [0, 0, 1, 3, 0]


@pytest.mark.parametrize("side", ["lower", "upper", "actual"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_makes_the_figure_null_and_no_other(forecasts, side, value):
    bounds = some_bounds()
    values = (forecasts.actual if side == "actual" else getattr(bounds, side)).copy()
    values[3, 1] = value
    if side == "actual":
        forecasts = replace(forecasts, actual=values)
    else:
        bounds = replace(bounds, **{side: values})
    found = coverage(forecasts, bounds)
    assert found["per_target"]["rtt_ms"] == {"coverage": None, "mean_width": None}
    assert found["slices"]["region"]["us-east"]["rtt_ms"] is None
    assert found["slices"]["region"]["eu-west"]["rtt_ms"] is not None
    assert found["per_target"]["jitter_ms"]["coverage"] is not None


def test_of_an_absent_target_every_figure_is_null():
    found = coverage(some_forecasts(("throughput_mbps", "jitter_ms")), some_bounds())
    assert found["per_target"]["rtt_ms"] == {"coverage": None, "mean_width": None}
    assert found["slices"]["link_type"]["dc"]["packet_loss"] is None
    whole = coverage(some_forecasts(), some_bounds())
    assert found["per_target"].keys() == whole["per_target"].keys()
    bounds, forecasts = some_bounds(), some_forecasts(("throughput_mbps", "jitter_ms"))
    inside = (bounds.lower[:, 3] <= forecasts.actual[:, 1]) & (forecasts.actual[:, 1] <= bounds.upper[:, 3])
    assert found["per_target"]["jitter_ms"]["coverage"] == inside.mean()


def test_without_windows_everything_is_null_and_there_are_no_slices(forecasts):
    nothing = replace(forecasts, actual=forecasts.actual[:0], link=forecasts.link[:0],
                      timestamps=forecasts.timestamps[:0])  # fmt: skip
    bounds = some_bounds()
    found = coverage(nothing, Bounds(bounds.lower[:0], bounds.upper[:0], 0.9))
    assert {figures["coverage"] for figures in found["per_target"].values()} == {None}
    assert not any(found["slices"].values())


def test_the_comparison_holds_the_intervals_or_null_and_is_a_valid_document(forecasts):
    document = compare(forecasts, **NEW, bounds=some_bounds())
    assert json.loads(encode_document("comparison", document, name="x"))["intervals"] == coverage(
        forecasts, some_bounds()
    )
    assert compare(forecasts, **NEW)["intervals"] is None
    encode_document("comparison", document | {"intervals": None}, name="x")
    document["intervals"]["per_target"]["rtt_ms"]["coverage"] = 1.2
    with pytest.raises(DocumentError, match="coverage"):
        encode_document("comparison", document, name="x")
