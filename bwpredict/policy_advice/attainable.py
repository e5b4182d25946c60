"""What simple forecasts reach on some telemetry, and how much of a difference between two of them is chance.

Measured on the validation and calibration parts: the test part, on which models will be judged, is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.datasets.windows import DAY_SECONDS, Split, WindowIndex
from bwpredict.evaluation.baselines import REFERENCES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.daily_errors import Daily, daily_errors
from bwpredict.evaluation.forecasts import Forecasts, collect
from bwpredict.evaluation.student import FEWEST_DAYS, Floats, deviation, ratio_over_days
from bwpredict.policy_advice.ridge import ridge_forecasts

TRAINING_WINDOWS = 30_000
MEASURED_WINDOWS = 40_000
MEASURED_PARTS = ("validation", "calibration")
RIDGE = "ridge"
MODELS = (RIDGE, *REFERENCES)

IDLE_BELOW = 0.05
"""A sample under this share of its link's own mean is idle: an error relative to it is out of all proportion."""
IDLE_SHARE = 0.1
"""A target that is idle in more than this share of its samples has no MAPE worth judging."""
CHANCE = 2.0
"""A difference is more than chance from this many standard deviations on."""

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class TargetFindings:
    """What was measured of one target."""

    target: str
    models: dict[str, Figures]
    """Each of `MODELS` → its figures by the names of `metrics.METRICS`."""
    baseline: str | None
    """The best of the simple baselines; None where none has an error above 0."""
    contender: str | None
    """The best of the other `MODELS`."""
    skill: float | None
    """The contender's over the baseline."""
    noise: float | None
    """Standard error of that skill over days."""
    peer_noise: float | None
    """Standard error of the difference of the two of `MODELS` that are closest in quality, as champion and challenger
    are: relative, in units of each link's error, over as many days as the test part has."""
    idle_share: float
    """Share of the samples that are idle, or below the floor of MAPE."""

    @property
    def idles(self) -> bool:
        """Whether the target is near zero so often that its MAPE means nothing."""
        return self.idle_share > IDLE_SHARE or self.best("mape")[1] is None

    @property
    def learnable(self) -> bool:
        """Whether something that was measured beats the best simple baseline by more than chance."""
        return self.skill is not None and self.noise is not None and self.skill > CHANCE * self.noise

    def best(self, metric: str, *, maximize: bool = False) -> tuple[str | None, float | None]:
        """The model with the best figure, and the figure; None and None where no model has one."""
        return _best({name: figures[metric] for name, figures in self.models.items()}, maximize=maximize)


@dataclass(frozen=True)
class Findings:
    """What was measured, on which windows."""

    targets: tuple[TargetFindings, ...]
    missing_targets: tuple[str, ...]
    """Targets that the telemetry lacks."""
    overall: dict[str, tuple[float | None, float | None]]
    """Each of `MODELS` → average correlation and average MAPE over the targets that are there."""
    windows: int
    links: int
    days: int
    """Whole days that were measured; with fewer than `FEWEST_DAYS` the standard errors are unknown."""
    test_windows: int
    """Windows of the test part, which were counted and not read."""
    test_days: int

    @property
    def best_average_correlation(self) -> tuple[str | None, float | None]:
        """The model with the best average correlation, and the figure."""
        return _best({name: averages[0] for name, averages in self.overall.items()}, maximize=True)

    @property
    def best_average_mape(self) -> tuple[str | None, float | None]:
        """The model with the best average MAPE, and the figure."""
        return _best({name: averages[1] for name, averages in self.overall.items()})


def measure(split: Split) -> Findings:
    """Fit the ridge on the training part, and score it and the simple baselines on the parts before the test."""
    index = _measured(split)
    forecasts = collect(index, {"challenger": ridge_forecasts(split["train"].spread(TRAINING_WINDOWS), index)})
    # The ridge takes the challenger's place, so the figures are those that the gate judges a model by.
    document = compare(forecasts, challenger_version=RIDGE, challenger_sha256="")
    models = {name: document["models"]["challenger" if name == RIDGE else name] for name in MODELS}
    test = split["test"]
    test_days = len(np.unique(test.frame.timestamps[test.target_rows] // DAY_SECONDS))
    return Findings(
        targets=tuple(_target(forecasts, models, place, test_days) for place in range(len(forecasts.targets))),
        missing_targets=tuple(document["absent_targets"]),
        overall={name: _averages(figures["overall"]) for name, figures in models.items()},
        windows=len(index),
        links=document["test"]["links"],
        days=_daily(forecasts, *MODELS[:2]).whole_days,
        test_windows=len(split["test"]),
        test_days=test_days,
    )


def _best(figures: Mapping[str, float | None], *, maximize: bool = False) -> tuple[str | None, float | None]:
    known = {name: figure for name, figure in figures.items() if figure is not None}
    if not known:
        return None, None
    best = (max if maximize else min)(known, key=lambda name: known[name])
    return best, known[best]


def _measured(split: Split) -> WindowIndex:
    parts = [split[name] for name in MEASURED_PARTS if name in split.parts]
    starts = np.sort(np.concatenate([part.starts for part in parts]))
    return parts[0].at(starts).spread(MEASURED_WINDOWS)


def _daily(forecasts: Forecasts, own: str, rival: str) -> Daily:
    """The errors of two of `MODELS` by link and day."""
    served = {name: forecasts.models["challenger" if name == RIDGE else name] for name in (own, rival)}
    return daily_errors(replace(forecasts, models={"challenger": served[own], rival: served[rival]}), rival)


def _target(forecasts: Forecasts, models: Mapping[str, Any], place: int, test_days: int) -> TargetFindings:
    target = forecasts.targets[place]
    figures: dict[str, Figures] = {name: model["per_target"][target] for name, model in models.items()}
    baseline = models[RIDGE]["per_target"][target]["baseline"]
    # A forecast equal to the baseline says nothing about chance; of the others, take the best.
    others = [name for name in MODELS if baseline and _daily(forecasts, name, baseline).apart(place)]
    contender, _ = _best({name: figures[name]["mae"] for name in others})
    return TargetFindings(
        target=target,
        models=figures,
        baseline=baseline,
        contender=contender,
        skill=figures[contender]["skill"] if contender else None,
        noise=_skill_noise(_daily(forecasts, contender, baseline), place) if contender and baseline else None,
        peer_noise=_peer_noise(forecasts, place, test_days),
        idle_share=_idle_share(forecasts, place),
    )


def _skill_noise(daily: Daily, place: int) -> float | None:
    """Standard error of 1 - own error / the other's error, each pooled over links; None over too few days."""
    own, theirs = daily.own[place].sum(axis=0), daily.theirs[place].sum(axis=0)
    return _noise(daily, ratio_over_days(own, theirs)[1])


def _peer_noise(forecasts: Forecasts, place: int, test_days: int) -> float | None:
    """The standard error of the closest pair's difference as the gate takes it, over `test_days` days."""
    pairs = [_daily(forecasts, *pair) for pair in combinations(MODELS, 2)]
    measured = [ratio_over_days(*daily.summed(place)) for daily in pairs if daily.apart(place)]
    if not measured or not test_days:
        return None
    _, influence = min(measured, key=lambda figures: abs(float(figures[0])))
    noise = _noise(pairs[0], influence)
    return None if noise is None else noise * math.sqrt(pairs[0].whole_days / test_days)


def _noise(daily: Daily, influence: Floats) -> float | None:
    noise = float(deviation(influence)) / 100
    return noise if daily.whole_days >= FEWEST_DAYS and math.isfinite(noise) else None


def _idle_share(forecasts: Forecasts, place: int) -> float:
    """Share of the actual values under the floor, or under `IDLE_BELOW` of their link's mean."""
    actual = forecasts.actual[:, place].astype(np.float64)
    counts = np.bincount(forecasts.link).clip(1)
    mean = np.bincount(forecasts.link, weights=actual) / counts
    floor = schema.MAPE_FLOORS[forecasts.targets[place]]
    return float(((actual < floor) | (actual < IDLE_BELOW * mean[forecasts.link])).mean())


def _averages(overall: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return overall["average_correlation"], overall["average_mape"]
