"""Regime changes that training never saw: the forecast's error stays near that of the best simple forecast."""

import numpy as np
import pytest
import torch
from frames import whole_days

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.models.features import SIMPLE_FORECASTS
from bwpredict.models.network import predict
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import train

MOST = 1.25
"""Times the error of the best simple forecast."""
DAY, HORIZON = 1440, 15
WINDOW = 20
"""Minutes after a change of a stream's regime until every simple forecast, too, knows the new one alone."""
FLOORS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])
STUCK = 1e-3
"""Of the level: what counts as no error on a link that does not change. The best simple forecast has none at all, so
there is no ratio."""


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
    assert (error <= MOST * best + 0.05 * FLOORS).all(), error / best


def rtt_by_a_thousand(values):
    values[..., 1] /= 1000
    return values


def stuck(values):
    values[:] = values[:, :1]
    return values


EXCURSIONS = {**CHANGES, "constant": stuck, "RTT / 1,000": rtt_by_a_thousand, "level x 2": scaled(2.0)}


def by_link(frame):
    return frame.values.reshape(len(frame.links), -1, len(schema.FEATURES)).astype(np.float32)


@torch.inference_mode()
def streamed(model, samples, first):
    """[links, minutes, targets], the forecast of each minute from `first` on; the stream began with the samples."""
    state, found = model.empty_state(len(samples)), []
    for begin in range(0, first, 120):
        state = model(torch.from_numpy(samples[:, begin : min(begin + 120, first)]), state).next_state
    for part in torch.split(torch.from_numpy(samples[:, first:]), 1, dim=1):
        answer = model(part, state)
        state = answer.next_state
        found.append(answer.output.numpy())
    return np.stack(found, axis=1)


def forecast_errors(forecasts, values, minutes):
    """[targets], the mean error of forecasts that are made in these minutes for others of them.

    The forecasts' last minute is that of the values.
    """
    before = values.shape[1] - forecasts.shape[1]
    made = slice(minutes.start - before, minutes.stop - HORIZON - before)
    actual = values[:, minutes.start + HORIZON : minutes.stop, : len(schema.TARGETS)]
    return np.abs(forecasts[:, made] - actual).mean(axis=(0, 1))


def simple_forecasts(values):
    """Last value, mean and median of 15 minutes, of each minute."""
    targets = values[..., : len(schema.TARGETS)]
    padded = np.pad(targets, ((0, 0), (14, 0), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 15, axis=1)
    return targets, windows.mean(axis=-1), np.median(windows, axis=-1)


def assert_not_absurd(model, values, spans):
    forecasts, simple = streamed(model, values, spans[0].start), simple_forecasts(values)
    for minutes in spans:
        error = forecast_errors(forecasts, values, minutes)
        best = np.min([forecast_errors(each, values, minutes) for each in simple], axis=0)
        level = np.abs(values[:, minutes, : len(schema.TARGETS)]).mean(axis=(0, 1))
        allowed = np.where(best > 0, MOST * best + 0.05 * FLOORS, STUCK * level)
        assert (error <= allowed).all(), f"minutes {minutes}: {error / np.maximum(best, 1e-12)}"


@pytest.fixture(scope="module")
def fleets(tmp_path_factory):
    """A model of calm links, two days of them that it never saw, and two of congested links."""
    folder = tmp_path_factory.mktemp("fleets")

    def fleet(name, **options):
        write_partitioned(FleetConfig(links=8, seed=5, **options), folder / name)
        return read_data_path(folder / name)

    training = fleet("training", days=8, start="2026-09-01")
    split = split_windows(index_windows(training, 20, HORIZON), SplitConfig())
    config = TrainingConfig(epochs=3, windows_per_epoch=20_000)
    model = train(split, config, folder / "best.pth").model.eval()
    calibrate(model, split)
    calm = by_link(fleet("calm", days=2, start="2026-09-15"))
    return model, calm, by_link(fleet("busy", days=2, start="2026-09-15", regime="congested"))


@pytest.mark.slow
@pytest.mark.parametrize("change", EXCURSIONS.values(), ids=EXCURSIONS.keys())
@pytest.mark.parametrize("length", [60, 240])
def test_a_stream_is_not_absurd_in_another_regime_nor_after_it(fleets, change, length):
    """There for one or four hours, and back for four."""
    model, values, _ = fleets
    begin = DAY + 400
    end = begin + length
    changed = values[:, : end + WINDOW + 240].copy()
    changed[:, begin:end] = change(changed[:, begin:end])
    assert_not_absurd(model, changed, [slice(begin + WINDOW, end), slice(end + WINDOW, end + WINDOW + 240)])


@pytest.mark.slow
def test_a_stream_of_one_link_that_goes_from_busy_to_idle_and_back_is_not_absurd(fleets):
    model, calm, busy = fleets
    values = np.concatenate((busy[:1, :DAY], idle(calm[:1, :600].copy()), busy[:1, DAY : DAY + 600]), axis=1)
    assert_not_absurd(model, values, [slice(DAY + WINDOW, DAY + 600), slice(DAY + 600 + WINDOW, DAY + 1200)])
