"""Test days of three links in the files that a version is published with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.evaluation import by_link
from bwpredict.evaluation.baselines import BASELINES
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.inference.onnx_model import Bounds
from bwpredict.registry.layout import LINK_ACCURACY_NAME, LINK_SERIES_NAME

DAY = 1_793_664_000
"""Midnight, UTC."""


def some_forecasts(links: int = 3, days: int = 1, targets: tuple[str, ...] = schema.TARGETS) -> Forecasts:
    """Windows of every minute, not in the order of time; link 11-21 is forecast worst."""
    generator = np.random.default_rng(1)
    times = np.tile(DAY + np.arange(0, days * 86_400, 60), links)
    link = np.repeat(np.arange(links), len(times) // links)
    actual = generator.lognormal(2, 0.4, (len(times), len(targets))).astype(np.float32)
    worse = np.where(link == 1, 1.5, 1.1)[:, None].astype(np.float32)
    models = {"challenger": actual * worse, "champion": actual * np.float32(1.2)}
    models |= {name: actual * np.float32(1.3) for name in BASELINES}
    order = generator.permutation(len(times))
    keys = pd.DataFrame({"node_id": 10 + np.arange(links), "peer_id": 20 + np.arange(links)})
    shuffled = {name: values[order] for name, values in models.items()}
    return Forecasts(tuple(targets), actual[order], shuffled, link[order], times[order], keys)


def bounds_of(forecasts: Forecasts) -> Bounds:
    """10 % around the challenger's forecasts."""
    whole = np.full((len(forecasts), len(schema.TARGETS)), np.nan, np.float32)
    whole[:, [schema.TARGETS.index(name) for name in forecasts.targets]] = forecasts.models["challenger"]
    return Bounds(whole * np.float32(0.9), whole * np.float32(1.1), 0.9)


def link_files(folder: Path, forecasts: Forecasts | None = None) -> dict[str, bytes]:
    """Name → content of both files."""
    forecasts = forecasts or some_forecasts()
    bounds = bounds_of(forecasts)
    accuracy = by_link.accuracy_by_link(forecasts, bounds, dict.fromkeys(forecasts.targets, "last_value"))
    return {
        LINK_ACCURACY_NAME: by_link.write_accuracy(folder / LINK_ACCURACY_NAME, accuracy).read_bytes(),
        LINK_SERIES_NAME: by_link.write_series(folder / LINK_SERIES_NAME, forecasts, bounds, accuracy).read_bytes(),
    }
