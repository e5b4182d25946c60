"""Simulated errors of a champion and a challenger whose true difference is known, with days that links share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.evaluation.forecasts import Forecasts

Floats = npt.NDArray[np.float64]

TARGETS, WINDOWS = len(schema.TARGETS), 24
OWN = 0.016
"""Standard deviation of the ratio of the two models' errors that belongs to a link's day."""


def world(generator: np.random.Generator, links: int, days: int, common: float) -> tuple[Floats, Floats]:
    """Absolute errors [links, days, windows, targets] of a champion and a challenger that are truly equal.

    Links differ in size by more than an order of magnitude. Of the day-to-day variance of the two models' ratio the
    share `common` belongs to the day (weather, routes, events) and the rest to the link and day.
    """
    size = generator.lognormal(0, 1.2, (links, 1, 1, TARGETS))
    hard = generator.gamma(9, 1 / 9, (links, days, 1, 1))
    day = OWN * np.sqrt(common / (1 - common))
    ratio = generator.normal(0, 1, (1, days, 1, TARGETS)) * day
    ratio = ratio + generator.normal(0, OWN, (links, days, 1, TARGETS))
    base = size * hard * generator.exponential(size=(links, days, WINDOWS, TARGETS))
    noise = generator.lognormal(0, 0.05, (2, links, days, WINDOWS, TARGETS))
    return base * noise[0], base * noise[1] * np.exp(ratio - (day**2 + OWN**2) / 2)


def forecasts_with(champion: Floats, challenger: Floats, **attributes: list[str]) -> Forecasts:
    """Forecasts with these errors [links, days, windows, targets] above an actual value of 0; links with attributes."""
    links, days, windows, targets = champion.shape
    number = np.arange(links * days * windows)
    models = {"challenger": challenger, "champion": champion}
    return Forecasts(
        targets=schema.TARGETS[:targets],
        actual=np.zeros((len(number), targets), np.float32),
        models={name: errors.reshape(-1, targets).astype(np.float32) for name, errors in models.items()},
        link=number // (days * windows),
        timestamps=number // windows % days * 86_400 + number % windows * (86_400 // windows),
        links=pd.DataFrame({"node_id": range(links), "peer_id": range(links), **attributes}),
    )
