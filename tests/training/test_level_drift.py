"""How far links' levels move from day to day."""

import numpy as np
import pytest
import torch
from frames import MIDNIGHT, make_frame, whole_days

from bwpredict.datasets.windows import index_windows
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training.level_drift import measure_level_drift

DAYS = 30


def drift_of(frame):
    return measure_level_drift(Forecaster(Contract(), "dense"), index_windows(frame, 20, 15))


def test_it_is_the_spread_of_a_links_daily_means_in_log_space_however_different_the_links_are():
    frame = whole_days(DAYS, links=8)
    days = (frame.timestamps - MIDNIGHT) // 86_400
    random = np.random.default_rng(1)
    of_days = random.normal(scale=[0.3, 0.1], size=(8, DAYS, 2))[frame.link, days]
    of_links = random.normal(scale=2, size=(8, 2))[frame.link]
    noise = random.normal(scale=0.2, size=(frame.rows, 2))
    frame.values[:, :2] = 100 * np.exp(of_days + of_links + noise)
    drift = drift_of(frame)
    assert drift.shape == (7,)
    assert drift[:2].tolist() == pytest.approx([0.3, 0.1], rel=0.2)


def test_where_no_link_has_two_days_nothing_is_known_to_drift():
    assert drift_of(make_frame([list(range(300))] * 3)).tolist() == [0.0] * 7


def test_a_large_fleet_is_measured_on_links_from_all_over_it():
    """The first half stands still, the other half moves."""
    frame = make_frame([[*range(40), *range(1440, 1480), *range(2880, 2920)]] * 500)
    moving = frame.link >= 250
    day = (frame.timestamps - MIDNIGHT) // 86_400
    frame.values[:, 0] = np.where(moving, 100 * np.exp(day - 1.0), 100.0)
    assert float(drift_of(frame)[0]) == pytest.approx(np.sqrt(0.5), rel=0.05)
    torch.testing.assert_close(drift_of(frame), drift_of(frame), rtol=0, atol=0)
