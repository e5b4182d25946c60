"""How much the challenger's error differs from the champion's, how sure that is, and what could have been seen."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.evaluation.bootstrap import DRAWS, LEVEL, Blocks, Floats, blocks_of, interval_of
from bwpredict.evaluation.diebold_mariano import diebold_mariano, loss_series
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.relative import percent_above, undefined_as_none

Document = dict[str, Any]

POWER = 0.8
_DETECTABLE_DEVIATIONS = NormalDist().inv_cdf((1 + LEVEL) / 2) + NormalDist().inv_cdf(POWER)
"""A difference of this many standard errors is told from 0 with probability `POWER`: Cohen (1988), 2.2."""


def differences(
    forecasts: Forecasts,
    *,
    weights: Mapping[str, float] | None = None,
    horizon_minutes: float = schema.HORIZON_MINUTES,
) -> Document:
    """The `difference` part of a comparison: per target, and the weighted mean of the targets.

    A figure is None where it is undefined, as of a target that the telemetry lacks.

    Args:
        forecasts: with "challenger" and "champion".
        weights: of the targets in the mean; 1 for those not named, None: for all.
        horizon_minutes: how far ahead the forecasts are, for the Diebold-Mariano test.
    """
    blocks, errors = blocks_of(forecasts.link, forecasts.timestamps), forecasts.absolute_errors()
    drawn = _drawn(blocks, errors)
    steps = _steps(forecasts, horizon_minutes)
    per_target: Document = dict.fromkeys(schema.TARGETS)
    for place, name in enumerate(forecasts.targets):
        ours, theirs = errors["challenger"][:, place], errors["champion"][:, place]
        loss = diebold_mariano(loss_series(ours - theirs, forecasts.timestamps), steps)
        estimate = percent_above(ours.mean(), theirs.mean())
        per_target[name] = _figures(float(estimate), drawn[:, place]) | {"diebold_mariano": loss}
    return {
        "level": LEVEL,
        "power": POWER,
        "draws": DRAWS,
        "blocks": {"of": f"link and {blocks.kind}", "count": blocks.count},
        "per_target": per_target,
        "weighted": _weighted(forecasts.targets, per_target, drawn, dict(weights or {})),
    }


def _drawn(blocks: Blocks, errors: Mapping[str, Floats]) -> Floats:
    """[draws, t], percent that the challenger's MAE lies above the champion's."""
    sums = np.concatenate([blocks.sums(errors[model]) for model in ("challenger", "champion")], axis=1)
    ours, theirs = np.split(blocks.draw(sums), 2, axis=1)
    return percent_above(ours, theirs)


def _figures(estimate: float, drawn: Floats) -> Document:
    """Of a difference in percent, and what was drawn of it [draws]."""
    interval = interval_of(estimate, drawn)
    known = interval.finite
    better = float((drawn < 0).mean() + (drawn == 0).mean() / 2)
    return {
        "percent": undefined_as_none(estimate),
        "low": undefined_as_none(interval.low),
        "high": undefined_as_none(interval.high),
        "probability_better": better if known else None,
        "smallest_detectable_percent": float(_DETECTABLE_DEVIATIONS * drawn.std()) if known else None,
    }


def _weighted(targets: tuple[str, ...], per_target: Document, drawn: Floats, given: Mapping[str, float]) -> Document:
    """Of the weighted mean; undefined where a target that counts was not measured."""
    weights = {name: float(given.get(name, 1.0)) for name in schema.TARGETS}
    share = np.array([weights[name] for name in targets])
    counted = [name for name in schema.TARGETS if weights[name] > 0]
    whole = all(per_target[name] is not None and per_target[name]["percent"] is not None for name in counted)
    if not whole or not share.sum():
        return {"weights": weights, **_figures(np.nan, np.full(1, np.nan))}
    used = share > 0  # 0 times an infinite difference is none
    mean = drawn[:, used] @ share[used] / share.sum()
    estimate = sum(weights[name] * per_target[name]["percent"] for name in counted) / share.sum()
    return {"weights": weights, **_figures(float(estimate), mean)}


def _steps(forecasts: Forecasts, horizon_minutes: float) -> int:
    """How many of the series' steps, as it is sampled, lie between forecast and target; at least 1."""
    apart = np.diff(np.unique(forecasts.timestamps))
    return max(1, round(horizon_minutes * 60 / float(np.median(apart)))) if len(apart) else 1
