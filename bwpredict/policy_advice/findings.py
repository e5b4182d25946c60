"""What was measured of some telemetry, in sentences: what is within reach there, and what chance does."""

from __future__ import annotations

from collections.abc import Iterator

from bwpredict import schema
from bwpredict.core.formatting import UNDEFINED, display_name, number
from bwpredict.core.guide import GUIDE_CORRELATION, GUIDE_MAPE_PERCENT
from bwpredict.evaluation.baselines import baseline_label
from bwpredict.evaluation.student import FEWEST_DAYS
from bwpredict.policy_advice.attainable import IDLE_BELOW, RIDGE, Findings, TargetFindings


def finding_sentences(findings: Findings) -> Iterator[str]:
    """What was found: a paragraph for each target, one over all, one on how it was measured."""
    for target in findings.targets:
        parts = (_correlation(target), _mape(target), _skill(target))
        yield f"{display_name(target.target)}: {' '.join(parts)}"
    for missing in findings.missing_targets:
        yield (
            f"{display_name(missing)}: missing from the telemetry or always 0; nothing was measured, and no gate lets a"
            " model pass that cannot be judged on it."
        )
    by_correlation, correlation = findings.best_average_correlation
    by_mape, mape = findings.best_average_mape
    yield (
        f"Over these targets: the best average correlation is {number(correlation)} ({model_label(by_correlation)}; the"
        f" guide asks for {GUIDE_CORRELATION:g}), the best average MAPE {number(mape)} % ({model_label(by_mape)}; the"
        f" guide asks for less than {GUIDE_MAPE_PERCENT:g} %)."
    )
    yield (
        f"Measured on {findings.windows:,} windows of {findings.links:,} links, of the validation and calibration"
        f" parts; standard errors over {findings.days} days{_too_few(findings.days)}."
    )


def model_label(model: str | None) -> str:
    """A measured model's name in running text."""
    if model is None:
        return UNDEFINED
    return "ridge regression" if model == RIDGE else f"the {baseline_label(model)}"


def _correlation(target: TargetFindings) -> str:
    name, best = target.best("correlation", maximize=True)
    within = None if name is None else target.models[name]["within_link_correlation"]
    reached = best is not None and best >= GUIDE_CORRELATION
    return (
        f"a correlation of {GUIDE_CORRELATION:g} is {_reached(reached)}: the best is {number(best, 3)} pooled over"
        f" links and {number(within, 2)} within links ({model_label(name)})."
    )


def _mape(target: TargetFindings) -> str:
    name, best = target.best("mape")
    if target.idles:
        by_wape, wape = target.best("wape")
        floor = f"{schema.MAPE_FLOORS[target.target]:g} {schema.COLUMN[target.target].unit}"
        return (
            f"Its MAPE means nothing: {target.idle_share:.0%} of the samples are under {IDLE_BELOW:.0%} of their link's"
            f" mean or under the floor of {floor}; read the WAPE (best: {number(wape, 3)} %, {model_label(by_wape)})."
        )
    reached = best is not None and best < GUIDE_MAPE_PERCENT
    return (
        f"A MAPE below {GUIDE_MAPE_PERCENT:g} % is {_reached(reached)}: the best is {number(best, 3)} %"
        f" ({model_label(name)})."
    )


def _skill(target: TargetFindings) -> str:
    if target.baseline is None or target.contender is None or target.skill is None:
        return "The skill cannot be computed: no simple baseline has an error that is defined and above 0."
    return (
        f"The best simple baseline is {model_label(target.baseline)}; the next best, {model_label(target.contender)},"
        f" has a skill of {target.skill:+.3f} over it, with a standard error of {number(target.noise, 2)}:"
        f" {'better' if target.learnable else 'not better'} by more than chance."
    )


def _too_few(days: int) -> str:
    return "" if days >= FEWEST_DAYS else f", which are too few: at least {FEWEST_DAYS} are needed"


def _reached(reached: bool) -> str:  # noqa: FBT001 - one word or the other
    return "reached" if reached else "not reached by anything measured"
