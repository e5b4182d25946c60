"""The links on which the challenger is worse than the champion, with bounds that hold for all links at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.evaluation.daily_errors import Daily, Floats
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.student import FEWEST_DAYS, LEVEL, half_width, ratio_over_days

Document = dict[str, Any]

_TENTH = 0.1


def link_differences(forecasts: Forecasts, daily: Daily) -> Document:
    """The `links` part of a difference: how many are judged, those that are worse, and the worst tenth.

    A link is judged when it has windows on `FEWEST_DAYS` days. Its bound on a target is one-sided and simultaneous
    (Bonferroni): all bounds of the document together have a 5 % chance of an error.
    """
    judged = _days_of(daily) >= FEWEST_DAYS
    comparisons = int(judged.sum()) * len(forecasts.targets)
    found = [_of_target(daily, place, comparisons) for place in range(len(forecasts.targets))]
    percent, bound = (np.stack(figures, axis=1) for figures in zip(*found, strict=True))
    undefined = judged & ~np.isfinite(bound).all(axis=1)
    worse = np.flatnonzero(judged & (bound > 0).any(axis=1))
    ranked = worse[np.argsort(-bound[worse].max(axis=1), kind="stable")]
    return {
        "level": LEVEL,
        "count": len(daily.links),
        "judged": int(judged.sum()),
        "undefined": int(undefined.sum()),
        "comparisons": comparisons,
        "tenths": {
            name: _tenths(percent[judged, place]) | _worst_tenth(daily, place)
            for place, name in enumerate(forecasts.targets)
        },
        "worse": [_row(forecasts, int(daily.links[link]), percent[link], bound[link]) for link in ranked],
    }


def _of_target(daily: Daily, place: int, comparisons: int) -> tuple[Floats, Floats]:
    """[links] each: percent above the champion, and the lower bound of it."""
    percent, influence = ratio_over_days(*daily.scaled(place))
    probability = 1 - (1 - LEVEL) / max(comparisons, 1)
    return percent, percent - half_width(influence, _days_of(daily), probability)


def _days_of(daily: Daily) -> Floats:
    """[links], the days with at least half of the windows of the link's fullest day."""
    fullest = daily.windows.max(axis=1, keepdims=True)
    return np.asarray((daily.windows >= np.maximum(fullest / 2, 1)).sum(axis=1), dtype=np.float64)


def _tenths(percent: Floats) -> Document:
    """The means over the tenth of the links with the largest differences, and over the tenth with the smallest."""
    known = np.sort(percent[np.isfinite(percent)])
    size = max(1, round(_TENTH * len(known)))
    if not len(known):
        return {"worst_percent": None, "best_percent": None}
    return {"worst_percent": float(known[-size:].mean()), "best_percent": float(known[:size].mean())}


def _worst_tenth(daily: Daily, place: int) -> Document:
    """Each model's MAE on the tenth of all links on which it is largest, in the target's unit."""
    windows, size = daily.windows.sum(axis=1), max(1, round(_TENTH * len(daily.links)))
    means = {"challenger_mae": daily.own, "champion_mae": daily.theirs}
    return {
        name: undefined_as_none(np.sort(errors[place].sum(axis=1) / windows)[-size:].mean())
        for name, errors in means.items()
    }


def _row(forecasts: Forecasts, link: int, percent: Floats, bound: Floats) -> Document:
    return {
        **{key: int(forecasts.links[key].iloc[link]) for key in schema.LINK_KEY},
        "per_target": {
            name: {
                "percent": undefined_as_none(percent[place]),
                "worse_by_at_least": undefined_as_none(bound[place]),
            }
            for place, name in enumerate(forecasts.targets)
        },
    }
