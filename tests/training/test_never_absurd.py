"""Regime changes that training never saw: the forecast's error stays near that of the best simple forecast."""

import numpy as np
import pytest
from frames import whole_days

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.features import SIMPLE_FORECASTS
from bwpredict.models.network import predict
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import train

MOST = 1.25
"""Times the error of the best simple forecast."""
LOSS = schema.TARGETS.index("packet_loss")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    split = split_windows(index_windows(whole_days(8), 20, 15), SplitConfig())
    config = TrainingConfig(epochs=3, windows_per_epoch=20_000)
    model = train(split, config, tmp_path_factory.mktemp("trained") / "best.pth").model
    calibrate(model, split)
    return model, split["test"].spread(2000)


def scaled(factor):
    def change(values):
        values[..., :2] *= factor
        values[..., 3] *= factor
        return values

    return change


def constant(values):
    values[:, :, :4] = values[:, -1:, :4]
    return values


def dead_target(values):
    values[..., 0] = 0
    return values


def idle(values):
    """4 kbps, with the noise of an idle link."""
    values[..., 0] = 0.004 * np.exp(0.1 * np.random.default_rng(0).normal(size=values.shape[:2]))
    return values


def bytes_for_bits(values):
    values[..., 0] /= 8
    return values


CHANGES = {
    "level x 10": scaled(10.0),
    "level / 1,000": scaled(1e-3),
    "a unit changed": bytes_for_bits,
    "a dead target": dead_target,
    "idle": idle,
    "constant": constant,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_regime_costs_at_most_a_quarter(trained, change):
    model, test = trained
    together = np.concatenate((test.inputs(), np.zeros((len(test), 1, 9), np.float32)), axis=1)
    together[:, -1, :4] = test.targets()
    together = change(together.copy())
    windows, actual = together[:, :-1], together[:, -1, :4]
    last_minutes = windows[:, -15:, :4]
    simple = (windows[:, -1, :4], last_minutes.mean(axis=1), np.median(last_minutes, axis=1))
    assert len(simple) == len(SIMPLE_FORECASTS)
    best = np.min([np.abs(each - actual).mean(axis=0) for each in simple], axis=0)
    error = np.abs(predict(model, windows) - actual).mean(axis=0)
    floors = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])
    assert (error <= MOST * best + 0.05 * floors).all(), error / best
