"""The checks of how accurate a challenger is: by the guide's figures, and against the best simple baseline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.core.formatting import display_name
from bwpredict.gate import Document
from bwpredict.gate.check import Check, Comparison, absent_targets, check_threshold, info_check, nested_value, number_in


def guide_checks(comparison: Document, policy: GatePolicy) -> Iterator[Check]:
    """The guide's three figures, over all targets."""
    overall = nested_value(comparison, "models", "challenger", "overall")
    correlation, accuracy = (nested_value(overall, key) for key in ("average_correlation", "accuracy_percent"))
    sentence = "The average correlation over the targets must be at least {:g}."
    limit = policy.minimum_average_correlation
    yield _demand(policy, "average_correlation", sentence, correlation, ">=", limit, low=-1, high=1)
    yield from _mape_checks(comparison, policy)
    sentence = "The accuracy (100 × average correlation) must be at least {:g} %."
    limit = policy.minimum_accuracy_percent
    yield _demand(policy, "accuracy", sentence, accuracy, ">=", limit, low=-100, high=100, unit="%")


def baseline_checks(comparison: Document, policy: GatePolicy) -> Iterator[Check]:
    """On each target better than the best simple baseline, and following each link as well as it does."""
    models = nested_value(comparison, "models")
    minima = dict.fromkeys(schema.TARGETS, policy.minimum_skill) | policy.minimum_skill_by_target
    for target in schema.TARGETS:
        own = nested_value(models, "challenger", "per_target", target)
        baseline = nested_value(own, "baseline")
        known = nested_value(models, baseline) is not None
        name = display_name(str(baseline)) if known else "unknown"
        skill, minimum = nested_value(own, "skill") if known else None, minima[target]
        sentence = f"{display_name(target)}: the skill over the best baseline ({name}) must be above {minimum:g}."
        yield check_threshold("skill", sentence, skill, ">", minimum, target=target, high=1)
        theirs = number_in(nested_value(models, baseline, "per_target", target, "within_link_correlation"), -1, 1)
        yield _within_link_check(policy, target, name, nested_value(own, "within_link_correlation"), theirs)


def regret_check(comparison: Document, policy: GatePolicy) -> Check:
    """What the consumer's settings cost more than those that perfect knowledge would choose."""
    limit = policy.maximum_regret_percent
    figures = nested_value(comparison, "consumer", "models", "challenger", "regret")
    value, low, high = (number_in(nested_value(figures, key)) for key in ("percent", "low", "high"))
    ends = None if low is None or high is None else (low, high)
    what = "The consumer's regret (what its settings cost more than those by perfect knowledge)"
    if limit is None:
        return info_check("regret", f"{what} is noted.", value, "<=", None, unit="%", interval=ends)
    sentence = f"{what} must be at most {limit:g} %."
    return check_threshold("regret", sentence, value, "<=", limit, unit="%", low=0, interval=ends)


def _demand(
    policy: GatePolicy,
    kind: str,
    sentence: str,
    value: Any,
    comparison: Comparison,
    threshold: float | None,
    *,
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
) -> Check:
    """A check of an absolute figure, or the figure alone; `sentence` has a place for the threshold."""
    if threshold is None:
        what = sentence.partition(" must be ")[0]
        told = f"{what}: the policy {policy.name!r} sets no limit; the skill over the best baseline decides."
        return info_check(kind, told, value, comparison, None, unit=unit)
    return check_threshold(
        kind, sentence.format(threshold), value, comparison, threshold, unit=unit, low=low, high=high
    )


def _mape_checks(comparison: Document, policy: GatePolicy) -> Iterator[Check]:
    models = nested_value(comparison, "models")
    left_out = {*policy.mape_excluded_targets, *absent_targets(comparison)}
    counted = [target for target in schema.TARGETS if target not in left_out]
    if counted:
        over = "over " + ", ".join(map(display_name, counted)) if left_out else "over the targets"
        sentence, limit = f"The average MAPE {over} must be below {{:g}} %.", policy.maximum_average_mape_percent
        mape = _average_mape(nested_value(models, "challenger"), counted)
        yield _demand(policy, "average_mape", sentence, mape, "<", limit, low=0, unit="%")
    for target in dict.fromkeys(policy.mape_excluded_targets):
        yield from _without_mape(models, policy, target)


def _without_mape(models: Any, policy: GatePolicy, target: str) -> Iterator[Check]:
    """For a target whose MAPE does not count: that it does not, and the WAPE that stands in for people."""
    own = nested_value(models, "challenger", "per_target", target)
    sentence = (
        f"{display_name(target)}: the policy {policy.name!r} leaves the MAPE out, since the target idles near zero;"
        " the WAPE is shown instead, and the skill, from the MAE, decides."
    )
    bound = policy.maximum_average_mape_percent
    yield info_check(
        "mape", sentence, nested_value(own, "mape"), "<", bound, verdict="not_applicable", target=target, unit="%"
    )
    baseline = nested_value(own, "baseline")
    theirs = number_in(nested_value(models, baseline, "per_target", target, "wape"), low=0)
    sentence = f"{display_name(target)}: the WAPE, and that of the best baseline ({display_name(str(baseline))})."
    yield info_check("wape", sentence, nested_value(own, "wape"), "<", theirs, target=target, unit="%")


def _average_mape(challenger: Any, counted: list[str]) -> Any:
    """The mean over the targets that count; undefined if one of them is."""
    if len(counted) == len(schema.TARGETS):
        return nested_value(challenger, "overall", "average_mape")
    figures = [number_in(nested_value(challenger, "per_target", target, "mape"), low=0) for target in counted]
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if len(known) == len(counted) else None


def _within_link_check(policy: GatePolicy, target: str, baseline: str, own: Any, theirs: float | None) -> Check:
    margin = policy.within_link_correlation_margin
    what = f"{display_name(target)}: the median correlation within links"
    kind = "within_link_correlation"
    if margin is None:
        told = f"{what}, and that of the best baseline ({baseline}): the policy {policy.name!r} sets no limit."
        return info_check(kind, told, own, ">=", theirs, target=target)
    sentence = f"{what} must be at most {margin:g} below that of the best baseline ({baseline})."
    least = None if theirs is None else theirs - margin
    return check_threshold(kind, sentence, own, ">=", least, target=target, low=-1, high=1)
