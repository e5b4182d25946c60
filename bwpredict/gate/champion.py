"""The checks against the champion: over the targets, on each target, in slices of the test windows, and by link.

Each looks at an interval. Its upper end within the limit: the challenger is shown to be as good, and the check passes.
Its lower end above what counts as worse: the challenger is shown to be worse, and the check fails. Neither: the test
days do not settle it, and the check stays open. The MAE over all windows passes by its estimate, since its interval is
that of a few large links.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.core.formatting import display_name, number
from bwpredict.gate import Document
from bwpredict.gate.champion_parts import link_check, slice_check
from bwpredict.gate.check import Check, Comparison, check_flag, check_threshold, info_check, nested_value, number_in

_SAME = 1e-6
"""Largest relative difference between a figure and the figures that it is made of."""
_CAUTION = 0.3
"""Autocorrelation of the daily series above which its intervals are likely too narrow."""


@dataclass(frozen=True)
class Estimate:
    """A difference from another model's error, in percent; all None where a figure is missing or they do not fit."""

    percent: float | None = None
    low: float | None = None
    high: float | None = None
    few_days: int | None = None
    """The number of test days where they are too few for an interval, which is then missing."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its two ends."""
        return None if self.low is None or self.high is None else (self.low, self.high)


def champion_checks(comparison: Document, policy: GatePolicy, case: str, because: str) -> Iterator[Check]:
    """The checks, or where they do not decide, the figures with the reason.

    Args:
        comparison: the document.
        policy: limits, weights and rule.
        case: one of the gate's `CASES`; `because` is its sentence.
    """
    problem = nested_value(comparison, "champion_problem")
    because = f"{because} {problem}" if isinstance(problem, str) else because
    if case in ("unusable_champion", "unknown_champion"):
        yield check_flag("champion", because, fact=False)
        return
    checks = [
        _mean_check(comparison, policy),
        *(_target_check(comparison, policy, target) for target in schema.TARGETS),
        *(_pooled_check(comparison, policy, target) for target in schema.TARGETS),
        *(winkler_check(comparison, policy, target) for target in schema.TARGETS),
        _autocorrelation_note(comparison),
        *(slice_check(comparison, policy, target) for target in schema.TARGETS),
        link_check(comparison, policy),
    ]
    for check in checks:
        yield check if case == "champion" else undecided(check, case, because)


def estimate_of(difference: Any, *keys: str) -> Estimate:
    """The estimate under `keys` of a `difference`, with its interval."""
    figures = nested_value(difference, *keys)
    percent, low, high = (number_in(nested_value(figures, key)) for key in ("percent", "low", "high"))
    count, fewest = (number_in(nested_value(difference, "days", key), low=0) for key in ("count", "fewest"))
    if percent is not None and low is None and high is None and count is not None and fewest and count < fewest:
        return Estimate(percent, few_days=int(count))
    if percent is None or low is None or high is None or not low <= percent <= high:
        return Estimate()
    return Estimate(percent, low, high)


def within(
    kind: str,
    what: str,
    sentence: str,
    estimate: Estimate,
    limit: float,
    *,
    worse_above: float,
    target: str | None = None,
    comparison: Comparison = "<=",
    whose: str = "production's",
    by_estimate: bool = False,
) -> Check:
    """Pass: the upper end is within the limit. Fail: the lower end is above `worse_above`. Else open.

    `by_estimate`: the estimate decides about a pass instead of the upper end.
    """
    value = estimate.percent if by_estimate else estimate.high
    check = check_threshold(
        kind, sentence, value, comparison, limit, target=target, unit="%", interval=estimate.interval
    )
    if estimate.few_days is not None:
        return _too_few_days(check, what, sentence, estimate.few_days, whose)
    if check.verdict == "pass" or estimate.percent is None or estimate.low is None or estimate.high is None:
        return check
    if estimate.low > worse_above:
        told = (
            f"{what} is shown to be above {whose}, by {number(estimate.low, 2)} to {number(estimate.high, 2)} %"
            f" (estimate {number(estimate.percent, 2)} %); the limit is {limit:g} %."
        )
        return replace(check, headline=told)
    return replace(check, verdict="open", headline=_cannot_tell(what, estimate.percent, estimate.high, limit, whose))


def _too_few_days(check: Check, what: str, sentence: str, days: int, whose: str = "production's") -> Check:
    told = f"{what}: {days} test days are too few to tell whether it is as good as {whose}."
    return replace(check, sentence=sentence, verdict="open", headline=told)


def _cannot_tell(what: str, percent: float, high: float, limit: float, whose: str) -> str:
    if percent <= limit:
        return (
            f"{what} may be up to {number(high, 2)} % above {whose}; the limit is {limit:g} %, and the test days"
            " do not settle it."
        )
    return (
        f"{what} is about {number(percent, 2)} % above {whose}, and may be up to {number(high, 2)} %; the limit is"
        f" {limit:g} %, but the test days do not show that it is worse."
    )


def undecided(check: Check, case: str, because: str) -> Check:
    """The check as a note: it has no part in the verdict."""
    verdict: Literal["not_applicable", "info"] = "not_applicable" if case == "no_champion" else "info"
    sentence = check.sentence.removesuffix(" The value could not be computed.")
    return replace(check, sentence=f"{sentence} {because}", headline="", verdict=verdict, severity="warning")


def _mean_check(comparison: Document, policy: GatePolicy) -> Check:
    """Over the targets: within the mean's limit, and by the rule of the policy below 0."""
    difference = nested_value(comparison, "difference")
    estimate, what = estimate_of(difference, "weighted"), "The error over all targets"
    counted = ", ".join(f"{display_name(target)} {weight:g}" for target, weight in policy.weights.items())
    mean = f"The mean difference from the champion's error (weights: {counted})"
    if nested_value(difference, "weighted", "weights") != policy.weights:
        estimate, mean = Estimate(), f"{mean}, which this comparison made with other weights,"
    if policy.champion_rule == "expected":
        sentence = f"{mean} must be at most 0, as estimated; its interval does not decide."
        return within("champion_mean", what, sentence, estimate, 0.0, worse_above=0.0, by_estimate=True)
    even = "even at the upper end of the 95 % interval."
    if policy.champion_rule == "superior":
        sentence = f"{mean} must be below 0, {even}"
        return within("champion_mean", what, sentence, estimate, 0.0, worse_above=0.0, comparison="<")
    limit = policy.mean_margin_percent
    sentence = f"{mean} must be at most {limit:g} %, {even}"
    return within("champion_mean", what, sentence, estimate, limit, worse_above=0.0)


def _target_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
    """On one target, every link alike: not worse by more than the limit."""
    estimate = _target_estimate(comparison, target)
    what, limit = f"{display_name(target)} error", policy.champion_margins_percent[target]
    if policy.champion_rule == "expected":
        return _expected_target(estimate, what, target, policy.mean_margin_percent)
    sentence = (
        f"{display_name(target)}: the error, in units of each link's champion error, must be at most {limit:g} % above"
        " the champion's, even at the upper end of the 95 % interval."
    )
    worse = min(limit, policy.mean_margin_percent)
    return within("champion_error", what, sentence, estimate, limit, worse_above=worse, target=target)


def _expected_target(estimate: Estimate, what: str, target: str, limit: float) -> Check:
    """Under the rule `expected`: not shown to be worse by more than the limit."""
    sentence = f"{display_name(target)}: the error must not be shown to be more than {limit:g} % above the champion's."
    check = check_threshold(
        "champion_error", sentence, estimate.low, "<=", limit, target=target, unit="%", interval=estimate.interval
    )
    return check if estimate.few_days is None else _too_few_days(check, what, sentence, estimate.few_days)


def _pooled_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
    """On one target, the MAE pooled over all windows: a guard for the links with the largest errors."""
    estimate = _target_estimate(comparison, target, "pooled")
    limit = policy.pooled_margin_percent
    sentence = (
        f"{display_name(target)}: the MAE over all windows, most of which belongs to the links with the largest errors,"
        f" must be at most {limit:g} % above the champion's, as estimated."
    )
    what = f"{display_name(target)} MAE over all windows"
    worse, kind = min(limit, policy.mean_margin_percent), "champion_pooled"
    return within(kind, what, sentence, estimate, limit, worse_above=worse, target=target, by_estimate=True)


def winkler_check(comparison: Document, policy: GatePolicy, target: str) -> Check:
    """On one target, the intervals: a note where the champion has none, so that there is nothing to fall behind."""
    margin, part = policy.winkler_margin_percent, nested_value(comparison, "interval_difference")
    limit = "not limited" if margin is None else f"at most {margin:g} % above the champion's"
    sentence = (
        f"{display_name(target)}: the Winkler score of the intervals, in units of each link's champion score, must be"
        f" {limit}, even at the upper end of the 95 % interval."
    )
    estimate = estimate_of(part, "per_target", target)
    if margin is None:
        return info_check("winkler", sentence, estimate.percent, "<=", None, target=target, unit="%")
    if isinstance(part, Mapping) and "champion_level" in part and part["champion_level"] is None:
        told = f"{sentence} The champion has no intervals."
        return info_check("winkler", told, None, "<=", margin, target=target, unit="%")
    what, worse = f"{display_name(target)} Winkler score", min(margin, policy.mean_margin_percent)
    check = within("winkler", what, sentence, estimate, margin, worse_above=worse, target=target)
    if estimate.percent is None and isinstance(part, Mapping) and part.get("level", 0) is None:
        return replace(check, headline="The challenger has no intervals, and the champion has.")
    return check


def _target_estimate(comparison: Document, target: str, *keys: str) -> Estimate:
    """The target's estimate; None if the difference belongs to other models, as in a document made of two runs."""
    difference, models = nested_value(comparison, "difference"), nested_value(comparison, "models")
    own, theirs = (
        number_in(nested_value(models, name, "per_target", target, "mae"), low=0) for name in ("challenger", "champion")
    )
    percent = number_in(nested_value(difference, "per_target", target, "pooled", "percent"))
    if percent is None or own is None or theirs is None:
        return Estimate()
    fits = math.isclose(own, theirs * (1 + percent / 100), rel_tol=_SAME, abs_tol=1e-12)
    return estimate_of(difference, "per_target", target, *keys) if fits else Estimate()


def _autocorrelation_note(comparison: Document) -> Check:
    """How far one day's difference follows from the day before: what makes intervals over days too narrow."""
    difference = nested_value(comparison, "difference")
    figures = [nested_value(difference, "per_target", target) for target in schema.TARGETS]
    figures.append(nested_value(difference, "weighted"))
    known = [number_in(nested_value(one, "autocorrelation"), -1, 1) for one in figures]
    largest = max((one for one in known if one is not None), default=None)
    sentence = "The largest lag-1 autocorrelation of the daily differences, over the targets and their mean."
    if largest is not None and largest > _CAUTION:
        sentence += f" Above {_CAUTION:g}: the intervals are likely too narrow, so take a pass with caution."
    return info_check("autocorrelation", sentence, largest, "<=", _CAUTION)
