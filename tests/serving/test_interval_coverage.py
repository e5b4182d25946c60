"""Coverage of a stream's intervals, link by link: a trained model, pulled and served, on a fleet of the simulator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from challengers import V1
from models import publish_stream_model

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.features import LONGEST_STEP
from bwpredict.serving.delivery import deliver
from bwpredict.serving.stream import Stream
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import train

DAY, LINKS, HORIZON = 1440, 12, 15
GAP_EVERY = 480


def fleet(folder, **options):
    write_partitioned(FleetConfig(seed=5, **options), folder)
    return read_data_path(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained on half of the links that it serves."""
    folder = tmp_path_factory.mktemp("training")
    frame = fleet(folder / "telemetry", links=LINKS // 2, days=8, start="2026-09-01")
    split = split_windows(index_windows(frame, 20, 15), SplitConfig())
    trained = train(split, TrainingConfig(epochs=2, windows_per_epoch=20_000), folder / "best.pth").model
    assert calibrate(trained, split)
    return trained.eval()


def served(model, folder, scale):
    """A stream of the model with its calibrated widths times `scale`."""
    calibrated = model.interval_factor.clone()
    store = open_store(str(folder / "store"))
    try:
        model.interval_factor.mul_(scale)
        publish_stream_model(store, folder, V1, model)
    finally:
        model.interval_factor.copy_(calibrated)
    deliver(store, folder / "dest")
    return Stream(folder / "dest")


def by_minute(frame):
    """[minutes, links, features], NaN where there is no sample."""
    minute = (frame.timestamps - frame.timestamps.min()) // 60
    values = np.full((minute.max() + 1, LINKS, len(schema.FEATURES)), np.nan, np.float32)
    values[minute, frame.link] = frame.values
    return values


def followed(stream, frame):
    """[minutes, links, targets], whether the value lay in the interval; NaN where one of them is missing."""
    values, seconds = by_minute(frame), np.random.default_rng(0).integers(0, 30, 10 * DAY)
    keys = [(int(node), int(peer)) for node, peer in frame.links[list(schema.LINK_KEY)].to_numpy()]
    bounds = np.full((len(values) + HORIZON, LINKS, len(schema.TARGETS), 2), np.nan, np.float32)
    for minute, samples in enumerate(values):
        there = np.nonzero(np.isfinite(samples[:, 0]))[0]
        at = int(frame.timestamps.min()) + 60 * minute + int(seconds[minute])
        answer = stream.step([keys[k] for k in there], samples[there], columns=schema.FEATURES, at=at)
        for place, name in enumerate(schema.TARGETS):
            forecast = answer.forecasts[name]
            bounds[minute + HORIZON, there, place] = np.stack((forecast.lower, forecast.upper), axis=1)
    lower, upper = np.moveaxis(bounds[: len(values)], -1, 0)
    actual = values[:, :, : len(schema.TARGETS)]
    known = np.isfinite(actual) & np.isfinite(lower)
    return np.where(known, (lower <= actual) & (actual <= upper), np.nan)


@pytest.mark.slow
@pytest.mark.parametrize(("regime", "scale"), [("calm", 0.15), ("congested", 1.0), ("congested", 0.15)])
def test_every_link_with_two_days_of_feedback_is_covered_at_88_to_92_percent(model, tmp_path, regime, scale):
    """In the two days that it learns from and in those after them, with gaps and samples that come seconds late."""
    frame = fleet(tmp_path / "telemetry", links=LINKS, days=4, start="2026-09-15", regime=regime, gap_share=0.02)
    held = followed(served(model, tmp_path, scale), frame)
    for days in (slice(2 * DAY), slice(2 * DAY, None)):
        share = np.nanmean(held[days], axis=0)
        low, median, high = np.quantile(share, (0, 0.5, 1))
        assert 0.88 <= low <= high <= 0.92, f"{low:.3f} to {high:.3f}, median {median:.3f}"
        assert share.shape == (LINKS, len(schema.TARGETS))


@torch.inference_mode()
def forecast_logs(model, samples):
    """[links, minutes, quantiles, targets] in log space at the contract's horizon, of streams [links, minutes, 9]."""
    state, parts = model.empty_state(len(samples)), []
    for step in torch.split(samples, LONGEST_STEP, dim=1):
        raw = model.follow(step, state)
        served = model.served(raw.quantiles, model.window_quantiles(raw.features), raw.features)
        state = raw.state
        parts.append(served[:, :, model.contract.place])
    return torch.cat(parts, dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [30, 120])
def test_after_a_gap_calibrated_intervals_are_wider_and_hold(model, tmp_path, gap):
    """The same minutes with and without a gap of so many minutes before them, without feedback."""
    frame = fleet(tmp_path / "telemetry", links=LINKS, days=4, start="2026-09-15")
    samples = torch.from_numpy(by_minute(frame).swapaxes(0, 1).copy())
    time = torch.arange(samples.shape[1]) + 40 * torch.arange(LINKS)[:, None]
    since = time % GAP_EVERY
    gapped = torch.where((since >= GAP_EVERY - gap)[..., None], torch.nan, samples)
    whole, after = (forecast_logs(model, each)[:, DAY:-HORIZON] for each in (samples, gapped))
    since = since[:, DAY:-HORIZON]
    wider = (after[..., 2, :] - after[..., 0, :]).log() - (whole[..., 2, :] - whole[..., 0, :]).log()
    actual = model.in_log_space(samples[:, DAY + HORIZON :, :4])
    held = ((after[..., 0, :] <= actual) & (actual <= after[..., 2, :])).float()
    share = held[since < 20].mean(dim=0)
    assert (wider[since < 5].mean(dim=0) > 0).all(), wider[since < 5].mean(dim=0)
    assert share.mean() > 0.8, share
    assert share.min() > 0.7, share
