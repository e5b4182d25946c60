"""Replay a consumer of the forecasts: how often it acts, how often it overestimates, and what that costs.

A window's regret is what the consumer's settings cost more than the settings that perfect knowledge of the coming
values would choose. A setting that is too large costs its surplus (queues, memory), one that is too small its shortfall
(capacity left unused); perfect knowledge costs nothing. Both are in percent of the link's mean setting under perfect
knowledge, so every link has the same weight, and the regret is the mean over settings and windows.

A consumer that does not act is not free: it keeps the settings that its last measurement implies, and pays what they
cost. So a model that never acts has the regret of the last value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.consumer_rules import ConsumerRules
from bwpredict.evaluation.daily_errors import Floats, cells_of, whole_days
from bwpredict.evaluation.forecasts import JUDGED, Forecasts
from bwpredict.evaluation.student import FEWEST_DAYS, LEVEL, interval, ratio_over_days
from bwpredict.inference.confidence import overall_confidence
from bwpredict.inference.onnx_model import Forecast

Document = dict[str, Any]
Columns = Mapping[str, Floats]

CHUNK_WINDOWS = 65_536
FALLBACK = "last_value"
THROUGHPUT = "throughput_mbps"
_UNKNOWN = {"percent": None, "low": None, "high": None}


def replay_consumer(forecasts: Forecasts, served: Mapping[str, Forecast], rules: ConsumerRules) -> Document | None:
    """The `consumer` part of a comparison; None where the telemetry lacks a target that the rules need.

    Intervals are Student's t over days, as those of the difference from the champion. A model without intervals has no
    confidence, so its consumer never acts; a consumer of the last value always acts.

    Args:
        forecasts: of n windows.
        served: what the models' files give for these windows: "challenger", and "champion" if it runs.
        rules: what the consumer does.
    """
    needed = tuple(dict.fromkeys((THROUGHPUT, *rules.targets)))
    if not set(needed) <= set(forecasts.targets):
        return None
    cells = cells_of(forecasts)
    models = [name for name in JUDGED if name in served]
    sums: dict[str, dict[str, Floats]] = {name: {} for name in ("perfect", *models, FALLBACK)}
    for begin in range(0, len(forecasts), CHUNK_WINDOWS):
        rows = slice(begin, begin + CHUNK_WINDOWS)
        for name, columns in _chunk(forecasts, served, rules, needed, rows):
            for key, values in columns.items():
                sums[name][key] = sums[name].get(key, 0.0) + cells.sums(values, rows)
    windows = cells.sums()
    perfect = sums.pop("perfect")
    return {
        "rules": rules.model_dump(mode="json"),
        "level": LEVEL,
        "days": {"count": whole_days(windows), "fewest": FEWEST_DAYS},
        "models": {name: _figures(found, perfect, windows, tuple(rules.settings)) for name, found in sums.items()},
    }


def _chunk(
    forecasts: Forecasts, served: Mapping[str, Forecast], rules: ConsumerRules, needed: tuple[str, ...], rows: slice
) -> Iterator[tuple[str, Columns]]:
    """The terms to sum over some windows, [rows] each, for "perfect" and each model."""
    measured = [forecasts.targets.index(name) for name in needed]
    actual = _columns(forecasts.actual[rows][:, measured], needed)
    last = _columns(forecasts.models[FALLBACK][rows][:, measured], needed)
    ideal = {name: setting.of(actual) for name, setting in rules.settings.items()}
    yield "perfect", {THROUGHPUT: actual[THROUGHPUT], **ideal}
    every = np.ones(len(actual[THROUGHPUT]), dtype=bool)
    yield FALLBACK, _outcome(last, every, last, actual, ideal, rules)
    places = [schema.TARGETS.index(name) for name in needed]
    for name, one in served.items():
        acts = _acts(one, rules.minimum_confidence, rows)
        yield name, _outcome(_columns(one.output[rows][:, places], needed), acts, last, actual, ideal, rules)


def _columns(values: npt.NDArray[np.floating[Any]], names: tuple[str, ...]) -> Columns:
    return dict(zip(names, values.T.astype(np.float64), strict=True))


def _acts(served: Forecast, minimum_confidence: float, rows: slice) -> npt.NDArray[np.bool_]:
    """[rows], whether the consumer uses the forecast."""
    output, bounds = served.output[rows].astype(np.float64), served.bounds
    if bounds is None:
        return np.zeros(len(output), dtype=bool)
    sure = overall_confidence(output, bounds.lower[rows].astype(np.float64), bounds.upper[rows].astype(np.float64))
    return np.isfinite(output).all(axis=1) & (sure >= minimum_confidence)


def _outcome(
    values: Columns, acts: npt.NDArray[np.bool_], last: Columns, actual: Columns, ideal: Columns, rules: ConsumerRules
) -> Columns:
    """[rows] each: whether the consumer acts and overestimates, by how much, and what each setting costs."""
    used = {name: np.where(acts, column, last[name]) for name, column in values.items()}
    over = acts & (used[THROUGHPUT] > actual[THROUGHPUT])
    found: dict[str, Floats] = {
        "acts": acts.astype(np.float64),
        "over": over.astype(np.float64),
        "excess": np.where(over, used[THROUGHPUT] - actual[THROUGHPUT], 0.0),
        "exceeded": np.where(over, actual[THROUGHPUT], 0.0),
    }
    for name, setting in rules.settings.items():
        found[name] = rules.cost(setting.of(used) - ideal[name])
    return found


def _figures(
    found: Mapping[str, Floats], perfect: Mapping[str, Floats], windows: Floats, names: tuple[str, ...]
) -> Document:
    """A model's figures, from sums [links, days]; None where one is undefined, as without any window."""
    days = whole_days(windows)
    if not windows.size:
        figures = ("acts", "overestimates", "overestimated_by", "regret")
        return {key: dict(_UNKNOWN) for key in figures} | {"settings": {}}
    link_windows = windows.sum(axis=1, keepdims=True)

    def in_units(sums: Floats, of: str) -> Floats:
        """Sums over links [days], each in units of the link's mean of `of`."""
        unit = perfect[of].sum(axis=1, keepdims=True) / link_windows
        return np.asarray((sums / np.where(unit == 0, 1.0, unit)).sum(axis=0))

    counted = windows.sum(axis=0)
    costs = {name: in_units(found[name], name) for name in names}
    return {
        "acts": _percent(found["acts"].sum(axis=0), counted, days),
        "overestimates": _percent(found["over"].sum(axis=0), found["acts"].sum(axis=0), days),
        "overestimated_by": _percent(
            in_units(found["excess"], THROUGHPUT), in_units(found["exceeded"], THROUGHPUT), days
        ),
        "regret": _percent(np.mean(list(costs.values()), axis=0), counted, days),
        "settings": {name: _percent(cost, counted, days) for name, cost in costs.items()},
    }


def _percent(part: Floats, whole: Floats, days: int) -> Document:
    """`part` in percent of `whole`, both [days]; None if `whole` is zero."""
    return interval(*ratio_over_days(part, whole), days) if whole.any() else dict(_UNKNOWN)
