"""How often checks that look at days are wrong, on days whose truth is known: monitor, canary, Diebold-Mariano test.

Figures vary from day to day, and a day may follow the one before: `follows` is the autocorrelation at lag one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict.evaluation.diebold_mariano import diebold_mariano
from bwpredict.monitoring.e_process import INITIAL_EVIDENCE, mean_evidence, update_evidence
from bwpredict.monitoring.sequential_tests import CANARY_MARGIN, SKILL_MARGIN, TESTS, THRESHOLD, evaluate_canary

Floats = npt.NDArray[np.float64]

YEAR, HALF_A_YEAR = 365, 182
WINDOWS = 10_000
"""Of a day of a canary's trial: enough for the day to count."""


def daily(generator: np.random.Generator, paths: int, days: int, follows: float) -> Floats:
    """[paths, days], mean 0 and standard deviation 1."""
    values = generator.normal(size=(paths, days))
    for day in range(1, days):
        values[:, day] = follows * values[:, day - 1] + np.sqrt(1 - follows**2) * values[:, day]
    return values


def monitor(drop: float, varies: float, follows: float, years: int, *, seed: int = 6) -> dict[str, Any]:
    """Of years in which all figures are this much below those of publication: how many have an alarm.

    The figures are those that the monitor tests, and vary on their own.
    """
    generator = np.random.default_rng(seed)
    alarms = 0
    for _ in range(years):
        below = drop + varies * daily(generator, len(TESTS), YEAR, follows)
        alarms += any(_alarms((figure - SKILL_MARGIN) / SKILL_MARGIN) for figure in below)
    return {
        "below publication": drop,
        "varies by": varies,
        "autocorrelation": follows,
        "years": years,
        "with an alarm": alarms / years,
    }


def _alarms(shortfalls: Floats) -> bool:
    evidence = INITIAL_EVIDENCE
    for shortfall in shortfalls:
        evidence = update_evidence(evidence, float(shortfall), THRESHOLD)
        if mean_evidence(evidence) >= THRESHOLD:
            return True
    return False


def canary(worse: float, varies: float, follows: float, trials: int, *, seed: int = 4) -> dict[str, Any]:
    """Of trials of half a year of a canary whose errors are larger by this log ratio: how many have which verdict."""
    ratios = worse + varies * daily(np.random.default_rng(seed), trials, HALF_A_YEAR, follows)
    verdicts = [_verdict(trial) for trial in ratios]
    return {
        "log error ratio": worse,
        "varies by": varies,
        "autocorrelation": follows,
        "trials": trials,
        "called better": verdicts.count("better") / trials,
        "called worse": verdicts.count("worse") / trials,
    }


def _verdict(ratios: Floats) -> str:
    judged = None
    for ratio in ratios:
        judged = evaluate_canary(float(ratio), WINDOWS, judged)
        if judged["verdict"] != "undecided":
            return str(judged["verdict"])
    return "undecided"


def equal_models_called_different(days: int, follows: float, pairs: int, *, seed: int = 8) -> dict[str, Any]:
    """Of pairs of models that are truly equal: how many have a Diebold-Mariano p-value below 0.05."""
    p_values = [diebold_mariano(one)["p_value"] for one in daily(np.random.default_rng(seed), pairs, days, follows)]
    return {
        "days": days,
        "autocorrelation": follows,
        "pairs": pairs,
        "equal called different": float(np.mean([p < 0.05 for p in p_values])),
    }


def tables(count: int, days: int) -> dict[str, list[dict[str, Any]]]:
    """Table → its rows, of this many years, trials or pairs each; pairs of models are compared over `days`."""
    follows = (0.0, 0.5)
    as_published = [monitor(0.0, varies, each, count) for varies in (0.05, 0.10) for each in follows]
    at_the_limit = [monitor(SKILL_MARGIN, varies, each, count) for varies in (0.01, 0.025, 0.05) for each in follows]
    canaries = [
        canary(worse, varies, each, count)
        for worse in (0.0, CANARY_MARGIN)
        for varies in (0.01, 0.02, 0.03)
        for each in follows
    ]
    return {
        "gate_monitor": as_published + at_the_limit,
        "gate_canary": canaries,
        "gate_diebold_mariano": [equal_models_called_different(days, each, count) for each in follows],
    }
