"""What simple forecasts reach on some telemetry, and how much of a difference between two of them is chance.

Measured on the validation and calibration parts: the test part, on which models will be judged, is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.windows import DAY_SECONDS, Split, WindowIndex
from bwpredict.evaluation.baselines import REFERENCES
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import Forecasts, collect
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
RESAMPLES = 500
MIN_BLOCKS = 10
"""With fewer (link, day) blocks, hours are taken instead of days."""
_SEED = 0

Figures = Mapping[str, float | None]


@dataclass(frozen=True)
class TargetFindings:
    """What was measured of one target."""

    target: str
    models: dict[str, Figures]
    """Each of `MODELS` → its figures by the names of `metrics.METRICS`."""
    baseline: str | None
    """The best of the simple baselines; None where that cannot be told."""
    contender: str | None
    """The best of the other `MODELS`."""
    skill: float | None
    """The contender's over the baseline."""
    noise: float | None
    """Standard deviation of that skill: what another sample of days and links would change."""
    peer_noise: float | None
    """The same of the two of `MODELS` that are closest in quality, as champion and challenger are."""
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
    blocks: int
    block: str
    """What the blocks of the noise are: "day" or "hour" (of one link)."""
    test_windows: int
    """Windows of the test part, which were counted and not read."""

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
    # The ridge stands in the challenger's place: the figures are those that a model will be judged by.
    document = compare(forecasts, challenger_version=RIDGE, challenger_sha256="")
    models = {name: document["models"]["challenger" if name == RIDGE else name] for name in MODELS}
    blocks, block = _blocks(forecasts)
    return Findings(
        targets=tuple(_target(forecasts, models, place, blocks) for place in range(len(forecasts.targets))),
        missing_targets=tuple(document["absent_targets"]),
        overall={name: _averages(figures["overall"]) for name, figures in models.items()},
        windows=len(index),
        links=document["test"]["links"],
        blocks=int(blocks.max()) + 1,
        block=block,
        test_windows=len(split["test"]),
    )


def skill_noise(
    own: npt.NDArray[np.floating[Any]], baseline: npt.NDArray[np.floating[Any]], blocks: npt.NDArray[np.int64]
) -> float | None:
    """Standard deviation of 1 - sum(own) / sum(baseline) over resampled blocks; None if it cannot be told.

    Args:
        own: [n], absolute errors; so is `baseline`, of the same windows.
        blocks: [n], number of each window's block. Errors within a block hang together, so blocks are drawn whole.
    """
    count = int(blocks.max()) + 1
    if count < 2:
        return None
    sums = np.stack([np.bincount(blocks, weights=errors, minlength=count) for errors in (own, baseline)], axis=1)
    draws = np.random.default_rng(_SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    mine, theirs = (draws @ sums).T
    if not (theirs > 0).all():
        return None
    return float(np.std(1 - mine / theirs, ddof=1))


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


def _blocks(forecasts: Forecasts) -> tuple[npt.NDArray[np.int64], str]:
    """[n], number of each window's block of one link and day (or hour, where days are too few)."""
    blocks = _numbered(forecasts, DAY_SECONDS)
    return (blocks, "day") if blocks.max() + 1 >= MIN_BLOCKS else (_numbered(forecasts, 3600), "hour")


def _numbered(forecasts: Forecasts, seconds: int) -> npt.NDArray[np.int64]:
    pairs = np.stack([forecasts.link.astype(np.int64), forecasts.timestamps // seconds], axis=1)
    return np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _target(
    forecasts: Forecasts, models: Mapping[str, Any], place: int, blocks: npt.NDArray[np.int64]
) -> TargetFindings:
    target = forecasts.targets[place]
    figures: dict[str, Figures] = {name: model["per_target"][target] for name, model in models.items()}
    errors = {name: _errors(forecasts, name, place) for name in MODELS}
    baseline = models[RIDGE]["per_target"][target]["baseline"]
    # A forecast that is the baseline itself has no noise to measure; of the others the closest tells most.
    others = [name for name in MODELS if baseline and not np.array_equal(errors[name], errors[baseline])]
    contender = min(others, key=lambda name: float(errors[name].mean()), default=None)
    return TargetFindings(
        target=target,
        models=figures,
        baseline=baseline,
        contender=contender,
        skill=figures[contender]["skill"] if contender else None,
        noise=skill_noise(errors[contender], errors[baseline], blocks) if contender and baseline else None,
        peer_noise=_peer_noise(list(errors.values()), blocks),
        idle_share=_idle_share(forecasts, place),
    )


def _peer_noise(errors: list[npt.NDArray[np.float64]], blocks: npt.NDArray[np.int64]) -> float | None:
    pairs = [pair for pair in combinations(errors, 2) if not np.array_equal(*pair)]
    if not pairs:
        return None
    return skill_noise(*min(pairs, key=lambda pair: abs(float(pair[0].mean() - pair[1].mean()))), blocks)


def _errors(forecasts: Forecasts, name: str, place: int) -> npt.NDArray[np.float64]:
    values = forecasts.models["challenger" if name == RIDGE else name][:, place].astype(np.float64)
    return np.abs(values - forecasts.actual[:, place])


def _idle_share(forecasts: Forecasts, place: int) -> float:
    """Share of the actual values under the floor, or under `IDLE_BELOW` of their link's mean."""
    actual = forecasts.actual[:, place].astype(np.float64)
    counts = np.bincount(forecasts.link).clip(1)
    mean = np.bincount(forecasts.link, weights=actual) / counts
    floor = schema.MAPE_FLOORS[forecasts.targets[place]]
    return float(((actual < floor) | (actual < IDLE_BELOW * mean[forecasts.link])).mean())


def _averages(overall: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return overall["average_correlation"], overall["average_mape"]
