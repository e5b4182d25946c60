"""Fit every model on a data set, on the same terms, and score all of them on the same windows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from accuracy import product
from accuracy.data import TEST, Dataset
from accuracy.networks import fit_guide, fit_lstm, fit_nhits
from accuracy.scores import ORACLE, PERSISTENCE, Outcome, cost, score
from accuracy.simple import baseline_entries, fit_profile
from accuracy.tabular import fit_lightgbm, fit_ridge
from accuracy.task import Budget, Entry, Fitted, Task
from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.windows import WindowIndex

logger = logging.getLogger(__name__)

WINDOWS_TO_TIME = 4096


@dataclass(frozen=True)
class Terms:
    """The terms on which all learnt models compete."""

    budget: Budget
    seeds: tuple[int, ...]


def all_entries() -> list[Entry]:
    """Every row of the table but the oracle, in the table's order."""
    return [
        *baseline_entries(),
        Entry("seasonal_profile", fit_profile, seeded=False),
        Entry("ridge", fit_ridge),
        Entry("lightgbm", fit_lightgbm),
        Entry("lstm", fit_lstm),
        Entry("nhits", fit_nhits),
        Entry("guide", fit_guide),
        *product.entries(),
    ]


def chosen_entries(names: Sequence[str] | None) -> list[Entry]:
    """The named entries, and persistence, which skill is measured against. Raises ConfigError for an unknown name."""
    entries = all_entries()
    known = [entry.name for entry in entries]
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ConfigError(f"models: {unknown[0]!r} is not known; expected some of {', '.join(known)}.")
    return [entry for entry in entries if not names or entry.name in names or entry.name == PERSISTENCE]


def run_dataset(dataset: Dataset, entries: Sequence[Entry], terms: Terms) -> dict[str, Any]:
    """The data set's part of the document: its split, the terms, and for each set of test windows `score`'s result."""
    outcomes: dict[str, dict[str, Outcome]] = {name: {} for name in dataset.tests}
    for entry in entries:
        made = _outcomes(dataset, entry, terms)
        for name, outcome in made.items():
            outcomes[name][entry.name] = outcome
        _log(dataset.name, entry.name, made[TEST])
    for name, forecasts in (dataset.oracle or {}).items():
        outcomes[name][ORACLE] = Outcome([forecasts])
    frame, measured = dataset.split["train"].frame, Task(dataset.split, terms.budget, 0).measured
    return {
        "dataset": dataset.name,
        "digest": dataset.digest,
        "rows": frame.rows,
        "links": len(frame.links),
        "cadence_seconds": frame.cadence_seconds,
        "window_size": dataset.split["train"].window_size,
        "horizon_minutes": dataset.split["train"].horizon_steps * frame.cadence_seconds / 60,
        "split": dataset.split.describe(),
        "budget": asdict(terms.budget),
        "seeds": list(terms.seeds),
        "targets": [schema.TARGETS[place] for place in measured],
        "models": [cost(name, outcome) for name, outcome in outcomes[TEST].items() if name != ORACLE],
        "tests": {name: score(index, measured, outcomes[name]) for name, index in dataset.tests.items()},
    }


def _outcomes(dataset: Dataset, entry: Entry, terms: Terms) -> dict[str, Outcome]:
    """For each set of test windows what the entry did, over all seeds."""
    made: dict[str, Outcome] = {}
    for seed in terms.seeds if entry.seeded else terms.seeds[:1]:
        began = time.perf_counter()
        fitted = entry.fit(Task(dataset.split, terms.budget, seed))
        seconds = time.perf_counter() - began
        microseconds = _inference_us(fitted, dataset.tests[TEST])
        for name, index in dataset.tests.items():
            one = Outcome(
                [fitted.forecast(index)], entry.ours, fitted.parameters, seconds, microseconds, (fitted.choice,)
            )
            made[name] = _joined(made[name], one) if name in made else one
    return made


def _joined(before: Outcome, one: Outcome) -> Outcome:
    """Both outcomes as one: seeds side by side, times averaged."""
    count = len(before.forecasts)
    return replace(
        before,
        forecasts=[*before.forecasts, *one.forecasts],
        training_seconds=(before.training_seconds * count + one.training_seconds) / (count + 1),
        inference_us=(before.inference_us * count + one.inference_us) / (count + 1),
        choices=(*before.choices, *one.choices),
    )


def _inference_us(fitted: Fitted, index: WindowIndex) -> float:
    few = index.spread(WINDOWS_TO_TIME)
    fitted.forecast(few)
    began = time.perf_counter()
    fitted.forecast(few)
    return (time.perf_counter() - began) * 1e6 / len(few)


def _log(dataset: str, model: str, outcome: Outcome) -> None:
    finite = float(np.isfinite(outcome.forecasts[0]).mean())
    logger.info(
        "%s  %-22s %8.1f s  %s%s", dataset, model, outcome.training_seconds * len(outcome.forecasts),
        "; ".join(choice for choice in outcome.choices if choice),
        "" if finite == 1 else f"  (answers for {finite:.0%})",
    )  # fmt: skip
