"""How often the gate is right about a challenger whose true quality is known: coverage, promotions, rejections.

And how often the monitor, a canary and the Diebold-Mariano test are wrong about days whose truth is known.

make bench-gate ARGS="--pairs 1000"
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from common import report
from daily_checks import tables

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.evaluation.forecasts import Forecasts
from bwpredict.evaluation.paired_difference import differences, mean_difference
from bwpredict.evaluation.slices import compare_slices
from bwpredict.evaluation.student import FEWEST_DAYS
from bwpredict.evaluation.winkler import interval_difference
from bwpredict.gate.anchor import anchor_check
from bwpredict.gate.champion import champion_checks
from bwpredict.inference.onnx_model import Bounds
from bwpredict.pipeline.anchor import MOST_CHAMPIONS, best_of

Floats = npt.NDArray[np.float64]

TARGETS, WINDOWS = len(schema.TARGETS), 24
OWN = 0.016
"""Standard deviation of the ratio of the two models' errors that belongs to a link's day."""
REGIONS = ("us-east", "eu-west", "ap-south", "sa-east")
DAYS = 7


def world(generator: np.random.Generator, links: int, days: int, common: float, *, models: int = 2) -> Floats:
    """Absolute errors [models, links, days, windows, targets] of models that are truly equal.

    Links differ in size by more than an order of magnitude. Of the day-to-day variance of a model's ratio to the
    first one, the share `common` belongs to the day (weather, routes, events) and the rest to the link and day.
    """
    size = generator.lognormal(0, 1.2, (links, 1, 1, TARGETS))
    hard = generator.gamma(9, 1 / 9, (links, days, 1, 1))
    day = OWN * np.sqrt(common / (1 - common))
    shape, others = (days, 1, TARGETS), models - 1
    ratio = day * generator.normal(size=(others, 1, *shape)) + OWN * generator.normal(size=(others, links, *shape))
    base = size * hard * generator.exponential(size=(links, days, WINDOWS, TARGETS))
    errors = base * generator.lognormal(0, 0.05, (models, links, days, WINDOWS, TARGETS))
    errors[1:] *= np.exp(ratio - (day**2 + OWN**2) / 2)
    return errors


def forecasts_with(champion: Floats, challenger: Floats) -> Forecasts:
    """Forecasts with these errors above an actual value of 0, of links in four regions."""
    links, days, windows, targets = champion.shape
    number = np.arange(links * days * windows)
    models = {"challenger": challenger, "champion": champion}
    return Forecasts(
        targets=schema.TARGETS[:targets],
        actual=np.zeros((len(number), targets), np.float32),
        models={name: errors.reshape(-1, targets).astype(np.float32) for name, errors in models.items()},
        link=number // (days * windows),
        timestamps=number // windows % days * 86_400 + number % windows * (86_400 // windows),
        links=pd.DataFrame(
            {
                "node_id": range(links),
                "peer_id": range(links),
                "region": [REGIONS[link % len(REGIONS)] for link in range(links)],
            }
        ),
    )


def intervals(forecasts: Forecasts, model: str) -> Bounds:
    """Intervals as wide as each link's own errors ask for: nine tenths of the errors are within."""
    values = forecasts.models[model]
    links = len(forecasts.links)
    half = np.quantile(values.reshape(links, -1, values.shape[1]), schema.INTERVAL_LEVEL, axis=1)[forecasts.link]
    half = half.astype(np.float32)
    return Bounds(values - half, values + half, schema.INTERVAL_LEVEL)


def judged(forecasts: Forecasts, policy: GatePolicy, *, slices: bool = False) -> tuple[dict[str, Any], dict[str, str]]:
    """The difference, and what the gate's checks against the champion make of it: kind of check → worst verdict."""
    mae = {name: errors.mean(axis=0) for name, errors in forecasts.absolute_errors().items()}
    difference = differences(forecasts, weights=policy.weights)
    comparison = {
        "models": {
            name: {"per_target": {target: {"mae": float(values[place])} for place, target in enumerate(schema.TARGETS)}}
            for name, values in mae.items()
        },
        "difference": difference,
        "interval_difference": interval_difference(
            forecasts, *(intervals(forecasts, name) for name in ("challenger", "champion"))
        ),
        "slices": compare_slices(forecasts, np.ones(forecasts.actual.shape)) if slices else {"rows": []},
    }
    found: dict[str, str] = {}
    for check in champion_checks(comparison, policy, "champion", ""):
        kind = check.id.partition(".")[0]
        if check.verdict in ("fail", "open") and found.get(kind) != "fail":
            found[kind] = check.verdict
    return difference, found


def measure(links: int, common: float, pairs: int, *, days: int = DAYS, seed: int = 11) -> dict[str, Any]:
    """Of this many pairs of models: how often the intervals hold the truth, and what the gate decides."""
    generator, policy = np.random.default_rng(seed), GatePolicy()
    held: list[bool] = []
    outcomes: dict[str, list[str]] = {"equal": [], "margin": []}
    by_intervals: list[bool] = []
    for _ in range(pairs):
        champion, challenger = world(generator, links, days, common)
        for name, worse in (("equal", 1.0), ("margin", 1 + policy.mean_margin_percent / 100)):
            difference, found = judged(forecasts_with(champion, challenger * worse), policy)
            outcomes[name].append("reject" if "fail" in found.values() else "keep" if found else "promote")
            if name == "equal":
                by_intervals.append("winkler" in found)
                held += [one["low"] <= 0 <= one["high"] for one in difference["per_target"].values()]
    return {
        "links": links,
        "days": days,
        "day variance in common": common,
        "pairs": pairs,
        "coverage": float(np.mean(held)),
        "equal promoted": outcomes["equal"].count("promote") / pairs,
        "equal rejected": outcomes["equal"].count("reject") / pairs,
        "equal not passed by intervals": float(np.mean(by_intervals)),
        "margin promoted": outcomes["margin"].count("promote") / pairs,
        "margin rejected": outcomes["margin"].count("reject") / pairs,
    }


def refused_by_parts(links: int, common: float, pairs: int, seed: int = 23) -> float:
    """The share of equal challengers that slices or links refuse."""
    generator, policy = np.random.default_rng(seed), GatePolicy()
    refused = 0
    for _ in range(pairs):
        _, found = judged(forecasts_with(*world(generator, links, DAYS, common)), policy, slices=True)
        refused += "fail" in (found.get("slices"), found.get("links"))
    return refused / pairs


def large_link(links: int, common: float, pairs: int, *, seed: int = 31) -> dict[str, Any]:
    """Of challengers that are worse on the link with the largest errors alone: how often they are promoted."""
    generator, policy = np.random.default_rng(seed), GatePolicy()
    promoted = dict.fromkeys((10, 20, 50), 0)
    for _ in range(pairs):
        champion, challenger = world(generator, links, DAYS, common)
        largest = champion.sum(axis=(1, 2)).argmax(axis=0)
        for percent in promoted:
            factor = np.ones((links, 1, 1, TARGETS))
            factor[largest, :, :, np.arange(TARGETS)] = 1 + percent / 100
            promoted[percent] += not judged(forecasts_with(champion, challenger * factor), policy)[1]
    return {
        "links": links,
        "day variance in common": common,
        "pairs": pairs,
        **{f"{percent} % worse on the largest link: promoted": count / pairs for percent, count in promoted.items()},
    }


def small_links(links: int, common: float, pairs: int, *, seed: int = 41) -> dict[str, Any]:
    """Of challengers that are 50 % worse on the twentieth of the links with the smallest errors: how many pass."""
    generator, policy = np.random.default_rng(seed), GatePolicy()
    count, promoted, refused = max(1, links // 20), 0, 0
    for _ in range(pairs):
        champion, challenger = world(generator, links, DAYS, common)
        challenger[np.argsort(champion.mean(axis=(1, 2, 3)))[:count]] *= 1.5
        _, found = judged(forecasts_with(champion, challenger), policy)
        promoted += not found
        refused += found.get("links") == "fail"
    return {
        "links": links,
        "worse by 50 %": count,
        "day variance in common": common,
        "pairs": pairs,
        "promoted": promoted / pairs,
        "refused by the check of links": refused / pairs,
    }


def after_change(links: int, common: float, pairs: int, *, seed: int = 29) -> dict[str, Any]:
    """Of challengers that differ by 5 % before a change of the network: what the gate decides on which days.

    Four test days are after the change. The challenger is better before and at the margin after, or worse before and
    equal after.
    """
    generator, policy = np.random.default_rng(seed), GatePolicy()
    margin, changed = 1 + policy.mean_margin_percent / 100, DAYS - FEWEST_DAYS
    cases = {"better, then at the margin": (0.95, margin), "worse, then equal": (1.05, 1.0)}
    promoted = {(name, days): 0 for name in cases for days in ("all", "after")}
    held: list[bool] = []
    for _ in range(pairs):
        champion, challenger = world(generator, links, DAYS, common)
        for name, worth in cases.items():
            factor = np.repeat(worth, (changed, DAYS - changed))[:, None, None]
            for days, first in (("all", 0), ("after", changed)):
                both = champion[:, first:], (challenger * factor)[:, first:]
                difference, found = judged(forecasts_with(*both), policy)
                promoted[name, days] += not found
                if days == "after":
                    truth = 100 * (worth[1] - 1)
                    held += [one["low"] <= truth <= one["high"] for one in difference["per_target"].values()]
    return {
        "links": links,
        "day variance in common": common,
        "pairs": pairs,
        "days after the change": DAYS - changed,
        "coverage": float(np.mean(held)),
        **{f"{name}: promoted on {days} days": count / pairs for (name, days), count in promoted.items()},
    }


def creep(
    *, links: int, days: int, months: int, step_percent: float = 0.5, common: float = 0.1, anchored: bool = True
) -> dict[str, Any]:
    """Months of challengers that are each a little worse than the champion: how far production declines."""
    generator, policy = np.random.default_rng(37), GatePolicy()
    champions = [1.0]
    for _ in range(months):
        challenger = champions[-1] * (1 + step_percent / 100)
        kept = list(range(max(0, len(champions) - 1 - MOST_CHAMPIONS), len(champions)))
        worth = np.array([*(champions[one] for one in kept), challenger])
        errors = world(generator, links, days, common, models=len(worth)) * worth[:, None, None, None, None]
        forecasts = forecasts_with(errors[-2], errors[-1])
        _, found = judged(forecasts, policy)
        if anchored and len(errors) > 2 and not found:
            earlier = {str(place): one.reshape(-1, TARGETS) for place, one in enumerate(errors[:-2].astype(np.float32))}
            best = best_of(forecasts, earlier, policy.weights)
            both = replace(forecasts, models={"challenger": forecasts.models["challenger"], "anchor": earlier[best]})
            anchor = {"version": best, "left_out": {}, "difference": mean_difference(both, "anchor", policy.weights)}
            verdict = anchor_check({"anchor": anchor}, policy).verdict
            found = {} if verdict == "pass" else {"anchor": verdict}
        if not found:
            champions.append(challenger)
    return {
        "links": links,
        "days": days,
        "months": months,
        "each worse by percent": step_percent,
        "anchor": anchored,
        "promoted": len(champions) - 1,
        "worse than the first by percent": 100 * (champions[-1] / champions[0] - 1),
    }


def main() -> None:
    """Measure over the fleets and the shares of the day's variance that all links have in common."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--pairs-for-parts", type=int, default=60)
    parser.add_argument("--links", type=int, nargs="+", default=[8, 20, 100])
    parser.add_argument("--common", type=float, nargs="+", default=[0.0, 0.25, 0.5])
    arguments = parser.parse_args()
    rows = []
    for links in arguments.links:
        for common in arguments.common:
            row = measure(links, common, arguments.pairs)
            parts = refused_by_parts(links, common, arguments.pairs_for_parts)
            rows.append(row | {"pairs for parts": arguments.pairs_for_parts, "equal refused by slices or links": parts})
    report("gate", rows)
    changes = [after_change(links, common, arguments.pairs) for links in arguments.links for common in arguments.common]
    report("gate_change", changes)
    parts = [large_link(links, common, arguments.pairs) for links in arguments.links for common in arguments.common]
    report("gate_large_link", parts)
    small = [small_links(links, common, arguments.pairs) for links in arguments.links for common in arguments.common]
    report("gate_small_links", small)
    steps = [
        creep(links=links, days=5, months=36, anchored=anchored)
        for links in arguments.links
        for anchored in (True, False)
    ]
    report("gate_creep", steps)
    for name, found in tables(arguments.pairs, DAYS).items():
        report(name, found)


if __name__ == "__main__":
    main()
