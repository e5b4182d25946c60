"""Champion, challenger and baselines on the same windows: the `comparison` document."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.core.guide import meets_guide
from bwpredict.datasets.windows import DAY_SECONDS
from bwpredict.evaluation.baselines import BASELINES, PARTIAL, REFERENCES
from bwpredict.evaluation.coverage import coverage
from bwpredict.evaluation.forecasts import JUDGED, Forecasts
from bwpredict.evaluation.metrics import METRICS, MINIMUM_LINK_SAMPLES, Floats, Truth, mae, skill_over
from bwpredict.evaluation.paired_difference import differences
from bwpredict.evaluation.slices import compare_slices
from bwpredict.evaluation.winkler import interval_difference
from bwpredict.inference.onnx_model import Bounds

Document = dict[str, Any]


def compare(
    forecasts: Forecasts,
    *,
    challenger_version: str,
    challenger_sha256: str,
    champion_version: str | None = None,
    champion_sha256: str | None = None,
    champion_problem: str | None = None,
    bounds: Bounds | None = None,
    champion_bounds: Bounds | None = None,
    target_weights: Mapping[str, float] | None = None,
) -> Document:
    """The `comparison` document. An undefined figure is null in it; an absent target has nulls only.

    Args:
        forecasts: with the models "challenger", "champion" if there is one that can run, and `BASELINES`.
        challenger_sha256: of the ONNX file the forecasts came from; so is `champion_sha256`.
        champion_version: what is in production; None only when nothing is.
        champion_problem: why the champion in production could not be run, in a sentence; it then has
            no forecasts, and the gate refuses to take that for a win.
        bounds: the challenger's intervals for the same windows; None: it has none. So are `champion_bounds`.
        target_weights: of the targets in the mean difference from the champion; None: each counts the same.
    """
    runs = champion_version is not None and champion_problem is None
    if runs != ("champion" in forecasts.models):
        raise ValueError("a champion has either forecasts or a problem, and nothing in production has neither")
    truth = _truth(forecasts)
    best = _best_baselines(truth, forecasts.models)
    reference = _reference(forecasts, best)
    base = np.abs(reference.astype(np.float64) - forecasts.actual)
    return {
        "challenger_version": challenger_version,
        "challenger_sha256": challenger_sha256,
        "champion_version": champion_version,
        "champion_sha256": champion_sha256,
        "champion_problem": champion_problem,
        "test": _test(forecasts),
        "targets": list(forecasts.targets),
        "absent_targets": [name for name in schema.TARGETS if name not in forecasts.targets],
        "mape_floors": {name: schema.MAPE_FLOORS[name] for name in forecasts.targets},
        "models": {name: _figures(name, forecasts, truth, best, reference) for name in forecasts.models},
        "skill": _skills(forecasts, truth, best, reference),
        "links": _link_extremes(forecasts, truth, reference),
        "intervals": None if bounds is None else coverage(forecasts, bounds),
        "interval_difference": interval_difference(forecasts, bounds, champion_bounds) if runs else None,
        "difference": difference_from_champion(forecasts, target_weights=target_weights),
        "slices": compare_slices(forecasts, base),
    }


def difference_from_champion(
    forecasts: Forecasts, *, target_weights: Mapping[str, float] | None = None
) -> Document | None:
    """The `difference` part of the document; None where there is no champion's forecast."""
    if "champion" not in forecasts.models:
        return None
    return differences(forecasts, weights=target_weights)


def _truth(forecasts: Forecasts) -> Truth:
    floors = np.array([schema.MAPE_FLOORS[name] for name in forecasts.targets])
    return Truth(forecasts.actual, forecasts.link, floors)


def _best_baselines(truth: Truth, models: Mapping[str, Any]) -> list[str | None]:
    """For each target the reference baseline with the smaller MAE; None where neither has one."""
    errors = np.stack([mae(truth, models[name]) for name in REFERENCES])
    return [REFERENCES[int(column.argmin())] if np.isfinite(column).all() else None for column in errors.T]


def _reference(forecasts: Forecasts, best: list[str | None]) -> npt.NDArray[np.float32]:
    """[n, t], each target's forecasts by its best baseline."""
    reference = np.full_like(forecasts.actual, np.nan)
    for place, name in enumerate(best):
        if name is not None:
            reference[:, place] = forecasts.models[name][:, place]
    return reference


def _test(forecasts: Forecasts) -> Document:
    times = forecasts.timestamps
    return {
        "start": _iso(times.min()) if len(times) else None,
        "end": _iso(times.max()) if len(times) else None,
        "windows": len(forecasts),
        "links": len(np.unique(forecasts.link)),
        "days": len(np.unique(times // DAY_SECONDS)),
    }


def _iso(unix_s: np.int64) -> str:
    return datetime.fromtimestamp(int(unix_s), UTC).isoformat()


def _figures(
    name: str, forecasts: Forecasts, truth: Truth, best: list[str | None], reference: npt.NDArray[np.float32]
) -> Document:
    values = forecasts.models[name]
    rows = _scored(name, values)
    mine, own = truth.rows(rows), values[rows]
    columns = {metric: compute(mine, own) for metric, compute in METRICS.items()}
    columns["skill"] = skill_over(reference[rows])(mine, own)
    per_target: Document = {target: dict.fromkeys((*columns, "baseline")) for target in schema.TARGETS}
    for place, target in enumerate(forecasts.targets):
        per_target[target] = {metric: undefined_as_none(column[place]) for metric, column in columns.items()}
        per_target[target]["baseline"] = best[place]
    return {
        "overall": _overall(columns),
        "per_target": per_target,
        "share_scored": undefined_as_none(rows.mean()) if len(rows) else None,
        "non_finite_forecasts": int((~np.isfinite(own).all(axis=1)).sum()),
        "out_of_bounds_forecasts": _out_of_bounds(own, forecasts.targets),
    }


def _scored(name: str, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """The windows that a model is scored on: all, except those for which a partial baseline has no forecast."""
    if name in PARTIAL:
        return np.asarray(np.isfinite(values).all(axis=1))
    return np.ones(len(values), dtype=bool)


def _overall(columns: Mapping[str, Floats]) -> Document:
    """The guide's overall figures: means over the targets, undefined if one of them is."""
    average_correlation = undefined_as_none(columns["correlation"].mean())
    average_mape = undefined_as_none(columns["mape"].mean())
    return {
        "average_correlation": average_correlation,
        "average_mape": average_mape,
        "accuracy_percent": None if average_correlation is None else 100 * average_correlation,
        "target_met": meets_guide(average_correlation, average_mape),
    }


def _out_of_bounds(values: npt.NDArray[np.float32], targets: tuple[str, ...]) -> int:
    """Number of windows with a forecast outside the physical bounds of its target."""
    low, high = schema.physical_bounds(targets)
    return int(((values < low) | (values > high)).any(axis=1).sum())


def _skills(forecasts: Forecasts, truth: Truth, best: list[str | None], reference: npt.NDArray[np.float32]) -> Document:
    """target → its best baseline's name, and each judged model's skill over every baseline."""
    skills: dict[str, dict[str, Floats]] = {}
    for model in JUDGED:
        if model in forecasts.models:
            own = forecasts.models[model]
            skills[model] = {"best_baseline": skill_over(reference)(truth, own)}
            for baseline in BASELINES:
                rows = _scored(baseline, forecasts.models[baseline])
                skill = skill_over(forecasts.models[baseline][rows])
                skills[model][baseline] = skill(truth.rows(rows), own[rows])
    return {
        target: {
            "best_baseline": best[place],
            **{
                model: {name: undefined_as_none(value[place]) for name, value in own.items()}
                for model, own in skills.items()
            },
        }
        for place, target in enumerate(forecasts.targets)
    }


def _link_extremes(forecasts: Forecasts, truth: Truth, reference: npt.NDArray[np.float32]) -> Document:
    """target → the links where the challenger's skill over the best baseline is worst, median and best."""
    links, code = np.unique(forecasts.link, return_inverse=True)
    counts = np.bincount(code, minlength=len(links))
    found: Document = {}
    for place, target in enumerate(forecasts.targets):
        actual = truth.values[:, place].astype(np.float64)
        errors, base = (
            np.bincount(code, weights=np.abs(values[:, place] - actual), minlength=len(links)) / counts
            for values in (forecasts.models["challenger"], reference)
        )
        skill = 1 - errors / np.where(base == 0, np.nan, base)
        usable = np.flatnonzero(np.isfinite(skill) & (counts >= MINIMUM_LINK_SAMPLES))
        ranked = usable[np.argsort(skill[usable], kind="stable")]
        places = {"worst": 0, "median": len(ranked) // 2, "best": -1} if len(ranked) else {}
        found[target] = {
            rank: {
                **{key: int(forecasts.links[key].iloc[links[link]]) for key in schema.LINK_KEY},
                "windows": int(counts[link]),
                "mae": undefined_as_none(errors[link]),
                "baseline_mae": undefined_as_none(base[link]),
                "skill": undefined_as_none(skill[link]),
            }
            for rank, link in ((rank, ranked[at]) for rank, at in places.items())
        }
    return found
