"""`bwpredict train` from the file to the artifacts, on telemetry that is odd and at the corners of its parameters."""

import json
import logging
from datetime import UTC, datetime

import numpy as np
import onnxruntime
import pandas as pd
import pytest

from bwpredict import schema
from bwpredict.config import TrainingConfig
from bwpredict.documents import read_document
from bwpredict.errors import TelemetryError
from bwpredict.evaluation.forecasts import read_forecasts
from bwpredict.pipeline.standalone import prepare, train_on
from bwpredict.simulation.writer import write_csv

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def trained(data, folder, **training):
    config = TrainingConfig(epochs=1, windows_per_epoch=64, validation_windows=64, **training)
    return train_on(data, folder, config, split_by="calendar", now=NOW, code_version="test")


def prepared(data):
    return prepare(data, TrainingConfig(), split_by="calendar", now=NOW, code_version="test")


def odd(table):
    """Links that never change, that lose all or no packets, and one whose throughput turns into kbit/s."""
    first, second, third = table["peer_id"].drop_duplicates()[:3]
    frozen, lost, rescaled = (table["peer_id"] == peer for peer in (first, second, third))
    table.loc[frozen, list(schema.TARGETS)] = [50.0, 5.0, 0.0, 0.5]
    table.loc[lost, "packet_loss"] = 1.0
    later = table["timestamp"] > table["timestamp"].median()
    table.loc[rescaled & later, "throughput_mbps"] *= 1000
    return table.assign(queue_depth=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_csv(9_000, 3, tmp_path_factory.mktemp("telemetry") / "made.csv")


def test_odd_links_are_named_and_every_forecast_is_finite(made, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    odd(pd.read_csv(made)).to_csv(tmp_path / "odd.csv", index=False)
    comparison = trained(tmp_path / "odd.csv", tmp_path / "out")
    said = caplog.text
    assert "throughput_mbps never changes on 1 of 3 links" in said
    assert "packet_loss never changes on 2 of 3 links" in said
    assert "throughput_mbps jumps as if its unit changed on 1 of 3 links" in said
    assert "queue_depth is 5 in every row" in said
    assert len(caplog.records) < 10
    figures = comparison["models"]["challenger"]
    assert figures["non_finite_forecasts"] == figures["out_of_bounds_forecasts"] == 0
    # A third of the test windows are of the link without loss, below the floor of the MAPE.
    left_out = figures["per_target"]["packet_loss"]["mape_share_left_out"]
    assert left_out == pytest.approx(1 / 3, abs=0.02)
    forecasts = read_forecasts(tmp_path / "out/forecasts.parquet")
    assert np.isfinite(forecasts.models["challenger"]).all()
    frozen = (forecasts.actual == np.float32([50.0, 5.0, 0.0, 0.5])).all(axis=1)
    assert frozen.sum() > 100
    lossless = forecasts.models["challenger"][frozen, schema.TARGETS.index("packet_loss")]
    assert lossless.max() < 1e-3


def test_a_target_at_its_bound_everywhere_is_left_out_and_said(made, tmp_path, caplog):
    pd.read_csv(made).assign(packet_loss=1.0, jitter_ms=0.0).to_csv(tmp_path / "down.csv", index=False)
    comparison = trained(tmp_path / "down.csv", tmp_path / "out")
    assert "packet_loss is 1 in every training window; it is left out and not forecast." in caplog.text
    assert "jitter_ms is 0 in every training window; it is left out and not forecast." in caplog.text
    assert comparison["absent_targets"] == ["packet_loss", "jitter_ms"]
    assert comparison["models"]["challenger"]["non_finite_forecasts"] == 0


def test_a_target_that_changes_only_after_the_training_part_is_left_out_and_not_refused(made, tmp_path):
    table = pd.read_csv(made)
    late = table["timestamp"] > table["timestamp"].quantile(0.95)
    table.assign(packet_loss=0.01 * late, rtt_ms=7.5).to_csv(tmp_path / "rare.csv", index=False)
    split = prepared(tmp_path / "rare.csv").split
    for part in split.parts.values():
        assert part.frame.filled == {"packet_loss": 0.0, "rtt_ms": 7.5}


def test_telemetry_that_never_changes_is_refused_in_a_sentence(made, tmp_path):
    still = dict(zip(schema.TARGETS, (50.0, 5.0, 0.0, 0.5), strict=True))
    pd.read_csv(made).assign(**still).to_csv(tmp_path / "still.csv", index=False)
    with pytest.raises(TelemetryError, match=r"no column to forecast changes in the training windows.*collector"):
        prepared(tmp_path / "still.csv")


@pytest.mark.parametrize(("window_size", "horizon_minutes"), [(5, 1), pytest.param(60, 60, marks=pytest.mark.slow)])
def test_windows_and_horizons_at_their_limits_are_followed_by_every_document(
    made, tmp_path, window_size, horizon_minutes
):
    comparison = trained(made, tmp_path, window_size=window_size, horizon_minutes=horizon_minutes)
    metadata = read_document(tmp_path / "model_metadata_v20261101_000000.json", "model_metadata")
    contract = metadata["contract"]
    assert (contract["window_size"], contract["horizon_minutes"]) == (window_size, horizon_minutes)
    assert metadata["model_architecture"]["input_shape"] == ["batch", window_size, len(schema.FEATURES)]
    session = onnxruntime.InferenceSession(tmp_path / metadata["onnx"]["name"])
    assert session.get_inputs()[0].shape[1:] == [window_size, len(schema.FEATURES)]
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["window_size"]) == window_size
    assert json.loads(properties["horizon_minutes"]) == horizon_minutes
    for batch in (1, 3):
        (output,) = session.run(["output"], {"input": np.ones((batch, *session.get_inputs()[0].shape[1:]), np.float32)})
        assert output.shape == (batch, len(schema.TARGETS))
        assert np.isfinite(output).all()
    parity = read_document(tmp_path / "parity.json", "parity")
    assert parity["max_relative_error"] < parity["tolerance"]
    assert parity["bounds_kept"]
    _forecasts_reach_that_far(made, tmp_path, horizon_minutes)
    assert comparison["test"]["windows"] == metadata["data"]["windows"]["test"] > 100


def _forecasts_reach_that_far(made, folder, horizon_minutes):
    """The last value before the target, which a baseline repeats, is the one of `horizon_minutes` before it."""
    forecasts, table = read_forecasts(folder / "forecasts.parquet"), pd.read_csv(made)
    values = table.set_index([*schema.LINK_KEY, "timestamp"])["rtt_ms"]
    keys = forecasts.links.iloc[forecasts.link]
    times = forecasts.timestamps
    place = schema.TARGETS.index("rtt_ms")
    for model, moments in (("actual", times), ("last_value", times - 60 * horizon_minutes)):
        at = pd.MultiIndex.from_arrays([keys["node_id"], keys["peer_id"], moments])
        found = (forecasts.actual if model == "actual" else forecasts.models[model])[:, place]
        np.testing.assert_allclose(found, values.loc[at].to_numpy(), rtol=1e-6)
