"""From forecasts to the rows of the table: figures for each target and model, and our place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accuracy.blocks import blocks_of, difference_interval, skill_interval
from accuracy.task import Array, absolute_errors
from accuracy.verdict import Verdict, judge
from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex
from bwpredict.evaluation.bootstrap import Blocks
from bwpredict.evaluation.metrics import (
    Truth,
    correlation,
    mae,
    mape,
    mape_share_left_out,
    wape,
    within_link_correlation,
)

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]

PERSISTENCE, ORACLE = "last_value", "oracle"
FEWEST_SCORED = 0.5
"""A model that answers for a smaller share of the windows is shown, but is no rival."""
IDLE_SHARE = 0.05
"""Where more samples than this are below the MAPE's floor, or …"""
IDLE_LEVEL = 2.0
"""… the typical value is not this many floors high, MAPE says nothing: read WAPE."""
ROUNDING = 1e-5
"""Errors that differ by less than this share are equal: ours go through a logarithm in float32, the median does not."""

_METRICS = {
    "mape": mape,
    "wape": wape,
    "mae": mae,
    "correlation": correlation,
    "within_link_correlation": within_link_correlation,
}


@dataclass(frozen=True)
class Outcome:
    """What a model did on one set of test windows."""

    forecasts: list[Array]
    """[n, targets] for each seed."""
    ours: bool = False
    parameters: int = 0
    training_seconds: float = 0.0
    """Mean over seeds."""
    inference_us: float = 0.0
    """For each window, in batches, from rows in memory to forecasts; mean over seeds."""
    choices: tuple[str, ...] = ()
    """What validation chose, for each seed."""


def score(index: WindowIndex, measured: Sequence[int], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Rows for each target and model, our verdicts, and what the intervals rest on.

    `outcomes` must hold `PERSISTENCE`; all models are scored on the same windows.
    """
    blocks = blocks_of(index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, as it should be
        errors = {name: _mean_errors(index, outcome) for name, outcome in outcomes.items()}
        return {
            "windows": len(index),
            "links": len(np.unique(index.frame.link[index.starts])),
            "blocks": {"of": f"link and {blocks.kind}", "count": blocks.count},
            "read": {schema.TARGETS[place]: reading(index.targets()[:, place], place) for place in measured},
            "rows": [
                _row(name, outcome, place, index, errors, blocks)
                for place in measured
                for name, outcome in outcomes.items()
            ],
            "verdicts": [
                {
                    "target": schema.TARGETS[place],
                    "model": name,
                    **asdict(_verdict(name, place, outcomes, errors, blocks)),
                }
                for place in measured
                for name, outcome in outcomes.items()
                if outcome.ours
            ],
        }


def cost(name: str, outcome: Outcome) -> Row:
    """What a model takes: its row in the table of models."""
    return {
        "model": name,
        "ours": outcome.ours,
        "parameters": outcome.parameters,
        "training_seconds": outcome.training_seconds,
        "inference_us": outcome.inference_us,
        "seeds": len(outcome.forecasts),
        "choices": list(outcome.choices),
    }


def reading(actual: npt.NDArray[np.floating], place: int) -> str:
    """Which figure to read for a target: "MAPE", or "WAPE" where the target idles near zero."""
    floor = schema.MAPE_FLOORS[schema.TARGETS[place]]
    idle = float((actual < floor).mean()) > IDLE_SHARE or float(np.median(actual)) < IDLE_LEVEL * floor
    return "WAPE" if idle else "MAPE"


def _mean_errors(index: WindowIndex, outcome: Outcome) -> Floats:
    """[n, targets], each window's absolute error, mean over seeds."""
    return np.asarray(np.mean([absolute_errors(index, forecasts) for forecasts in outcome.forecasts], axis=0))


def _row(
    name: str, outcome: Outcome, place: int, index: WindowIndex, errors: Mapping[str, Floats], blocks: Blocks
) -> Row:
    own, last = errors[name][:, place], errors[PERSISTENCE][:, place]
    by_seed = [_figures(index, forecasts, place) for forecasts in outcome.forecasts]
    figures = {key: _mean([each[key] for each in by_seed]) for key in by_seed[0]}
    skill = skill_interval(blocks, own, last)
    persistence = float(last[np.isfinite(own)].mean()) or np.nan
    return {
        "target": schema.TARGETS[place],
        "model": name,
        "ours": outcome.ours,
        **figures,
        "mae_spread": _spread([each["mae"] for each in by_seed]),
        "skill": _finite(skill.estimate),
        "skill_low": _finite(skill.low),
        "skill_high": _finite(skill.high),
        "skill_spread": _spread([1 - each["mae"] / persistence for each in by_seed]),
        "gap_closed": _gap_closed(own, place, errors),
        "share_scored": float(np.isfinite(own).mean()),
    }


def _figures(index: WindowIndex, forecasts: Array, place: int) -> dict[str, float]:
    """The metrics of one target over the windows that the model answers for."""
    answered = np.isfinite(forecasts[:, place])
    floor = np.array([schema.MAPE_FLOORS[schema.TARGETS[place]]])
    link = index.frame.link[index.target_rows]
    truth = Truth(index.targets()[:, [place]], link, floor)
    left_out = float(mape_share_left_out(truth, truth.values)[0])
    truth, own = truth.rows(answered), forecasts[answered][:, [place]]
    return {**{key: float(metric(truth, own)[0]) for key, metric in _METRICS.items()}, "mape_share_left_out": left_out}


def _gap_closed(own: Floats, place: int, errors: Mapping[str, Floats]) -> float | None:
    """Share of the way from persistence to the oracle, by MAE, over the windows that the model answers for."""
    if ORACLE not in errors:
        return None
    answered = np.isfinite(own)
    last, best = (errors[name][answered, place].mean() for name in (PERSISTENCE, ORACLE))
    return _finite((last - own[answered].mean()) / (last - best)) if last != best else None


def _verdict(
    name: str, place: int, outcomes: Mapping[str, Outcome], errors: Mapping[str, Floats], blocks: Blocks
) -> Verdict:
    own = errors[name][:, place]
    if not np.isfinite(own).all():
        return judge({})
    rivals = [
        rival
        for rival, outcome in outcomes.items()
        if rival != ORACLE and not outcome.ours and np.isfinite(errors[rival][:, place]).mean() >= FEWEST_SCORED
    ]
    differences = {rival: difference_interval(blocks, own, errors[rival][:, place]) for rival in rivals}
    return judge(differences, rounding=ROUNDING * float(own.mean()))


def _mean(values: list[float]) -> float | None:
    return _finite(float(np.mean(values)))


def _spread(values: list[float]) -> float | None:
    """Standard deviation over seeds; None of a single one."""
    return _finite(float(np.std(values, ddof=1))) if len(values) > 1 else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
