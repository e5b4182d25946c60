import numpy as np
import pytest
from frames import make_frame

from bwpredict import schema
from bwpredict.datasets.windows import index_windows
from bwpredict.evaluation.baselines import REFERENCES, baseline_forecasts
from bwpredict.policy_advice.ridge import ridge_forecasts

MINUTES = 2200


def windows_of(series):
    """Training and later windows of two links whose throughput is `series` [minutes], the others constant."""
    frame = make_frame([list(range(MINUTES))] * 2)
    frame.values[:, :4] = np.float32([100, 20, 0.01, 2])
    frame.values[:, 0] = np.tile(series, 2)
    index = index_windows(frame, 20, 15)
    minute = index.starts % MINUTES
    return index.take(minute < 1500), index.take(minute >= 1560)


def error(forecasts, index):
    return np.abs(forecasts[:, 0] - index.targets()[:, 0]).mean()


def test_it_learns_what_a_linear_model_can_learn():
    wave = 100 * np.exp(0.5 * np.sin(np.arange(MINUTES) * 2 * np.pi / 60))
    train, test = windows_of(wave)
    best = min(error(values, test) for name, values in baseline_forecasts(test).items() if name in REFERENCES)
    assert error(ridge_forecasts(train, test), test) < 0.1 * best


def test_where_nothing_can_be_learnt_it_is_about_as_good_as_the_best_baseline():
    noise = 100 * np.random.default_rng(1).lognormal(0, 0.5, MINUTES)
    train, test = windows_of(noise)
    best = min(error(values, test) for name, values in baseline_forecasts(test).items() if name in REFERENCES)
    assert error(ridge_forecasts(train, test), test) < 1.05 * best


@pytest.mark.parametrize("series", [np.zeros(MINUTES), np.full(MINUTES, 7.0), np.eye(1, MINUTES, 50)[0] * 1e6])
def test_forecasts_are_finite_and_physical_for_idle_constant_and_spiky_links(series):
    train, test = windows_of(series)
    forecasts = ridge_forecasts(train, test)
    assert np.isfinite(forecasts).all()
    for place, target in enumerate(schema.TARGETS):
        assert (forecasts[:, place] >= schema.COLUMN[target].minimum).all()
        assert (forecasts[:, place] <= (schema.COLUMN[target].maximum or np.inf)).all()
