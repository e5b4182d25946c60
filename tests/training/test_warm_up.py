"""How long a stream warms up, measured on streams whose forecasts are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from frames import make_frame, whole_days

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.checkpoint import load_checkpoint, save_checkpoint
from bwpredict.models.network import Contract, Forecaster, Raw
from bwpredict.models.onnx_export import streaming_contract
from bwpredict.training.warm_up import BIN_MINUTES, LONGEST_MINUTES, measure_warm_up

LEARNT = torch.full((4,), 0.25)


@pytest.fixture(scope="module")
def validation():
    """A day of links that fluctuate around one level, so that a forecast is wrong by what it is off."""
    return validation_of(whole_days(8), horizon_minutes=15)


def validation_of(frame, horizon_minutes):
    frame.values[:, :4] = np.array([100, 20, 0.002, 2], np.float32) * np.exp(
        0.1 * np.random.default_rng(0).normal(size=(frame.rows, 4))
    ).astype(np.float32)
    return split_windows(index_windows(frame, 20, horizon_minutes), SplitConfig(validation=0.125))["validation"]


class _Off(Forecaster):
    """Forecasts that are off by a factor which shrinks with the minutes that a link was followed."""

    fades_minutes = 60.0
    least = 0.0

    def follow(self, samples, state, *, last_only=False):
        raw = super().follow(samples, state, last_only=last_only)
        age = state[:, -1:] + torch.arange(1, samples.shape[1] + 1)
        off = self.least + torch.exp(-age / self.fades_minutes)
        quantiles = raw.quantiles + off[:, :, None, None, None]
        after = raw.state.clone()
        after[:, -1] = age[:, -1]
        return Raw(quantiles, raw.features, after)


def an_off_model(contract=None, **changes):
    model = _Off(contract or Contract())
    for name, value in changes.items():
        setattr(model, name, value)
    return model.eval()


def test_the_longer_a_stream_takes_the_longer_it_warms_up(validation):
    found = [measure_warm_up(an_off_model(fades_minutes=fades), validation, LEARNT) for fades in (5.0, 180.0)]
    assert found[0] <= BIN_MINUTES < found[1] < LONGEST_MINUTES


def test_samples_so_rare_that_some_bins_stay_empty_are_measured_in_minutes_too():
    hourly = validation_of(make_frame([list(range(24 * 60))] * 2, cadence_seconds=3600), horizon_minutes=60)
    model = an_off_model(Contract(horizon_minutes=60, cadence_seconds=3600), fades_minutes=1.0)  # a sample
    model.memory_share.fill_(1)
    assert 4 * 60 <= measure_warm_up(model, hourly, LEARNT) <= 6 * 60


def test_what_never_gets_better_needs_no_warm_up_and_what_was_not_learnt_does_not_count(validation):
    assert measure_warm_up(Forecaster(Contract()).eval(), validation, LEARNT) == 1
    assert measure_warm_up(an_off_model(), validation, torch.zeros(4)) is None


def test_the_metadata_has_what_was_measured_and_older_checkpoints_the_default(tmp_path):
    model = Forecaster(Contract())
    model.warm_up_minutes.fill_(330)
    save_checkpoint(model, tmp_path / "model.pth", {})
    assert streaming_contract(load_checkpoint(tmp_path / "model.pth"), "v1")["warm_up_minutes"] == 330
    older = torch.load(tmp_path / "model.pth", weights_only=True)
    del older["state"]["warm_up_minutes"]
    torch.save(older, tmp_path / "older.pth")
    assert int(load_checkpoint(tmp_path / "older.pth").warm_up_minutes) == 720
