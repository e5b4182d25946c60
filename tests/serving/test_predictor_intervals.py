"""Intervals of `Predictor` that follow each link, on series whose errors are known and drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from challengers import V1, V2
from models import AT, publish_model, windows

from bwpredict import schema
from bwpredict.errors import InputError
from bwpredict.serving.delivery import deliver
from bwpredict.serving.predictor import Forecasts, Predictor
from bwpredict.store.base import Store

DAY, HORIZON, SIZE = 1440, 15, 20
LINKS = [(1, 2), (1, 3), (4, 2)]


@pytest.fixture
def predictor(store: Store, tmp_path: Path) -> Predictor:
    """Its model answers the last sample, with bounds 10 % around it."""
    deliver(store, tmp_path / "dest")
    return Predictor(tmp_path / "dest")


def at(minute: int) -> int:
    return AT // DAY * DAY + 60 * minute


def asked(predictor: Predictor, series: np.ndarray, minute: int, **options) -> Forecasts:
    """With the window of `series` [minutes, links, targets] that ends at this minute."""
    raw = windows(series.shape[1])
    raw[:, :, : len(schema.TARGETS)] = series[minute + 1 - SIZE : minute + 1].swapaxes(0, 1)
    now = at(minute)
    raw[:, :, 4], raw[:, :, 5] = schema.CALENDAR.hours(np.array(now)), schema.CALENDAR.days(np.array(now))
    return predictor.predict(raw, columns=schema.FEATURES, newest_at=now, now=now, **options)


def drifting(days: int) -> np.ndarray:
    """[minutes, links, targets] whose noise grows fivefold, shrinks to a quarter, and grows slowly."""
    rng, minutes = np.random.default_rng(3), days * DAY
    share = np.arange(minutes) / minutes
    noise = 0.03 * np.stack([1 + 4 * share, 4 - 3 * share, np.exp(share)], axis=1)
    level = np.array([400.0, 30.0, 0.01, 2.0])
    return (level * np.exp(noise[..., None] * rng.normal(size=(minutes, 3, 4)))).astype(np.float32)


def coverage(found: list[Forecasts], series: np.ndarray) -> np.ndarray:
    """[links, targets] of forecasts for one minute after another, the last of which are for the series' end."""
    actual = series[-len(found) :]
    bounds = [np.stack([[getattr(one[name], side) for one in found] for name in schema.TARGETS], -1)
              for side in ("lower", "upper")]  # fmt: skip
    return ((bounds[0] <= actual) & (actual <= bounds[1])).mean(axis=0)


def test_on_a_drifting_series_each_link_is_covered_at_88_to_92_percent(predictor: Predictor) -> None:
    series = drifting(days=2)
    minutes = range(SIZE - 1, len(series) - HORIZON)
    adapted = [asked(predictor, series, minute, links=LINKS) for minute in minutes]
    static = [asked(predictor, series, minute) for minute in minutes[-300:]]
    held = coverage(adapted[DAY // 2 :], series)
    assert 0.88 <= held.min() <= held.max() <= 0.92
    assert coverage(static, series).min() < 0.75


def test_minutes_that_were_not_asked_for_and_calls_that_come_again_change_no_coverage(predictor: Predictor) -> None:
    series, rng = drifting(days=3), np.random.default_rng(1)
    found, at_minutes = [], []
    for minute in range(SIZE - 1, len(series) - HORIZON, 5):
        for _ in range(rng.integers(1, 3)):
            answer = asked(predictor, series, minute, links=LINKS)
        found.append(answer)
        at_minutes.append(minute + HORIZON)
    held = coverage(found[200:], series[at_minutes])
    assert 0.85 <= held.min() <= held.max() <= 0.95


def test_links_may_come_and_go_and_a_reload_keeps_what_was_learnt(
    store: Store, predictor: Predictor, tmp_path: Path
) -> None:
    series = drifting(days=1)
    for minute in range(SIZE - 1, 300):
        asked(predictor, series, minute, links=LINKS)
    own = asked(predictor, series, 300, links=LINKS)
    publish_model(store, tmp_path, V2, champion=V1)
    deliver(store, tmp_path / "dest")
    assert predictor.reload()
    other_way_round = asked(predictor, series[:, ::-1], 300, links=LINKS[::-1])
    np.testing.assert_array_equal(other_way_round["rtt_ms"].upper, own["rtt_ms"].upper[::-1])
    new = asked(predictor, series, 300, links=[(7, 8), (7, 9), (8, 9)])
    np.testing.assert_allclose(new["rtt_ms"].upper, asked(predictor, series, 300)["rtt_ms"].upper, rtol=1e-6)


@pytest.mark.parametrize(("links", "said"), [(LINKS[:2], "2 links were given for 3 rows"), ([(1, 2)] * 3, "twice")])
def test_each_window_needs_a_link_of_its_own(predictor: Predictor, links: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        asked(predictor, drifting(days=1), 100, links=links)
