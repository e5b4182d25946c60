"""Fit every model on a data set, on the same terms, and score all of them on the same windows."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from accuracy import cache, product
from accuracy.cache import Cache, Made
from accuracy.data import TEST, Dataset
from accuracy.library import fit_linear_of_a_day, fit_lstm_of_a_day, fit_nhits, fit_nhits_of_a_day
from accuracy.networks import fit_guide, fit_log_lstm, fit_lstm
from accuracy.scores import ORACLE, PERSISTENCE, Outcome, cost, score
from accuracy.simple import baseline_entries, fit_profile
from accuracy.tabular import fit_lightgbm, fit_ridge
from accuracy.task import Budget, Entry, Fitted, Task
from accuracy.zero_shot import fit_fracast
from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex
from bwpredict.errors import ConfigError

logger = logging.getLogger(__name__)

WINDOWS_TO_TIME = 4096


@dataclass(frozen=True)
class Terms:
    """The terms on which all learnt models compete."""

    budget: Budget
    seeds: tuple[int, ...]
    rival_seeds: tuple[int, ...] = ()
    """Of the rivals, if not the same: some of them take long, and differ little."""
    cache: Cache = field(default_factory=lambda: Cache(None))


def all_entries() -> list[Entry]:
    """Every row of the table but the oracle, in the table's order."""
    return [
        *baseline_entries(),
        Entry("seasonal_profile", fit_profile, seeded=False),
        Entry("ridge", fit_ridge),
        Entry("lightgbm", fit_lightgbm),
        Entry("ridge with memory", partial(fit_ridge, memory=True)),
        Entry("lightgbm with memory", partial(fit_lightgbm, memory=True)),
        Entry("lstm", fit_lstm),
        Entry("lstm in log space", fit_log_lstm),
        Entry("nhits", fit_nhits),
        Entry("nhits of a day", fit_nhits_of_a_day),
        Entry("lstm of a day", fit_lstm_of_a_day),
        Entry("linear of a day", fit_linear_of_a_day),
        Entry("fracast", fit_fracast, seeded=False),
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
        "rival_seeds": list(terms.rival_seeds or terms.seeds),
        "targets": [schema.TARGETS[place] for place in measured],
        "models": [cost(name, outcome) for name, outcome in outcomes[TEST].items() if name != ORACLE],
        "tests": {name: score(index, measured, outcomes[name]) for name, index in dataset.tests.items()},
    }


def _outcomes(dataset: Dataset, entry: Entry, terms: Terms) -> dict[str, Outcome]:
    """For each set of test windows what the entry did, over all seeds."""
    seeds = terms.seeds if entry.ours else terms.rival_seeds or terms.seeds
    made = [_made(dataset, entry, terms, seed) for seed in (seeds if entry.seeded else seeds[:1])]
    return {
        name: Outcome(
            [each.forecasts[name] for each in made],
            entry.ours,
            made[0].parameters,
            float(np.mean([each.training_seconds for each in made])),
            float(np.mean([each.inference_us for each in made])),
            tuple(each.choice for each in made),
        )
        for name in dataset.tests
    }


def _made(dataset: Dataset, entry: Entry, terms: Terms, seed: int) -> Made:
    """One fit and its forecasts, from the cache if they are there."""
    path = terms.cache.path(dataset, entry, terms.budget, seed)
    if path and path.is_file():
        return cache.read(path)
    began = time.perf_counter()
    fitted = entry.fit(Task(dataset.split, terms.budget, seed))
    seconds = time.perf_counter() - began
    forecasts = {name: fitted.forecast(index) for name, index in dataset.tests.items()}
    made = Made(forecasts, seconds, _inference_us(fitted, dataset.tests[TEST]), fitted.parameters, fitted.choice)
    if path:
        cache.write(path, made)
    return made


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
