"""The best of the earlier champions, on the month's test windows: many small steps for the worse add up against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict.datasets.windows import WindowIndex
from bwpredict.errors import ModelError
from bwpredict.evaluation.forecasts import Forecasts, collect
from bwpredict.evaluation.paired_difference import mean_difference
from bwpredict.inference.onnx_model import forecast
from bwpredict.pipeline.seen_days import Days, target_days

Document = dict[str, Any]

MOST_CHAMPIONS = 12
RANKING_WINDOWS = 10_000
"""Number of test windows on which the best one is found; it is then compared on all."""
_ANCHOR = "anchor"


@dataclass(frozen=True)
class EarlierChampion:
    """A model that served before the champion."""

    onnx: Path
    seen: Days
    """As `days_seen`."""


def compare_with_earlier(
    earlier: Mapping[str, EarlierChampion], index: WindowIndex, forecasts: Forecasts, weights: Mapping[str, float]
) -> Document | None:
    """The `anchor` part of a comparison: the difference from the best earlier champion; None where there is none.

    A model that cannot be run on these windows, or has seen some of their days, is left out, with the reason.

    Args:
        earlier: by version.
        index: the n test windows.
        forecasts: those of "challenger" for these windows.
        weights: of the targets.
    """
    if not earlier:
        return None
    challenger = forecasts.models["challenger"]
    chosen = np.linspace(0, len(index) - 1, min(RANKING_WINDOWS, len(index))).astype(np.int64)
    some = index.take(chosen)
    days = np.unique(target_days(index))
    left_out: dict[str, str] = {}
    found: dict[str, npt.NDArray[np.float32]] = {}
    for version, model in earlier.items():
        if np.isin(days, model.seen).any():
            left_out[version] = "It was trained on some of the test days."
            continue
        try:
            found[version] = forecast(model.onnx, some)
        except ModelError as error:
            left_out[version] = str(error)
    on_some = collect(some, {"challenger": challenger[chosen]})
    best = best_of(on_some, found, weights)
    document: Document = {"version": best, "candidates": list(earlier), "left_out": left_out, "difference": None}
    if best is not None:
        both = {"challenger": challenger, _ANCHOR: forecast(earlier[best].onnx, index)}
        document["difference"] = mean_difference(replace(forecasts, models=both), _ANCHOR, weights)
    return document


def best_of(
    forecasts: Forecasts, rivals: Mapping[str, npt.NDArray[np.float32]], weights: Mapping[str, float]
) -> str | None:
    """The rival that the challenger in `forecasts` is furthest behind; None where no difference is defined."""
    percents: dict[str, float] = {}
    for name, values in rivals.items():
        both = replace(forecasts, models={"challenger": forecasts.models["challenger"], _ANCHOR: values})
        percent = mean_difference(both, _ANCHOR, weights)["weighted"]["percent"]
        if percent is not None:
            percents[name] = percent
    return max(percents, key=lambda name: percents[name], default=None)
