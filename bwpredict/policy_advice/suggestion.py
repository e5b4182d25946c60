"""A gate policy that fits a network, from what simple forecasts reach on its telemetry; for a person to review.

What comes out is a proposal with its reasons. Nothing takes effect before somebody chooses it by name or path.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import yaml

from bwpredict.config import GatePolicy, load
from bwpredict.core.formatting import display_name, number
from bwpredict.core.guide import GUIDE_CORRELATION, GUIDE_MAPE_PERCENT
from bwpredict.evaluation.student import smallest_detectable
from bwpredict.policy_advice.attainable import CHANCE, MODELS, Findings, TargetFindings
from bwpredict.policy_advice.findings import finding_sentences, model_label

GUIDE = GatePolicy()
MARGIN_STEP, MIN_MARGIN, MAX_MARGIN = 0.005, 0.01, 0.05
"""Of the skill: margins are rounded up to a step. Beyond the largest, more telemetry is needed, not a wider margin."""
FOLLOWED = 0.5
"""A baseline whose correlation within links is at least this follows the links: a model must not do so less."""
COVERAGE = (0.85, 0.95)
"""Of the 90 % intervals, as in the policy `relative`."""

_DIGEST_CHARACTERS = 12
_WIDTH = 118


@dataclass(frozen=True)
class Source:
    """The telemetry that was measured, for the record."""

    snapshot_id: str
    origin: str
    start: str
    """ISO 8601; so is `end`."""
    end: str


@dataclass(frozen=True)
class Threshold:
    """One line of the policy, and why it is as it is."""

    name: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """A policy for review."""

    policy: GatePolicy
    sentences: list[str]
    """What was found, for people: at least one on each target."""
    text: str
    """The YAML document, with the sentences and the reasons as comments."""


def suggest(findings: Findings, source: Source) -> Suggestion:
    """The policy that fits what was found. It is pure: the same findings give the same document."""
    thresholds = [
        *_guide_thresholds(findings),
        *_skill_thresholds(findings),
        *_margins(findings),
        *_calibration(),
        *_constants(findings),
    ]
    sentences = list(finding_sentences(findings))
    name = f"suggested-{source.snapshot_id[:_DIGEST_CHARACTERS]}"
    values = {"name": name, "version": 1} | {one.name: one.value for one in thresholds}
    return Suggestion(load(GatePolicy, values, origin=name), sentences, _document(name, thresholds, sentences, source))


def _guide_thresholds(findings: Findings) -> Iterator[Threshold]:
    """The guide's demands, each where something that was measured meets it, and none where nothing does."""
    name, correlation = findings.best_average_correlation
    reached = correlation is not None and correlation >= GUIDE_CORRELATION
    measured = f"The best average correlation measured is {number(correlation)} ({model_label(name)})."
    yield Threshold(
        "minimum_average_correlation",
        GUIDE.minimum_average_correlation if reached else None,
        f"{measured} {_stands(reached)}",
    )
    yield Threshold(
        "minimum_accuracy_percent",
        GUIDE.minimum_accuracy_percent if reached else None,
        "The accuracy is the average correlation, times 100.",
    )
    idle = [target.target for target in findings.targets if target.idles]
    yield Threshold(
        "mape_excluded_targets",
        idle,
        f"Idle near zero: {', '.join(map(display_name, idle))}. The decision shows the WAPE, and the skill decides."
        if idle
        else "No target idles near zero: the MAPE of each means something.",
    )
    yield _mape_threshold([target for target in findings.targets if not target.idles])


def _mape_threshold(counted: list[TargetFindings]) -> Threshold:
    """Over the targets that count, as the gate averages."""
    if not counted:
        return Threshold("maximum_average_mape_percent", None, "No target has a MAPE that means something.")
    averages = {model: fmean(_or_infinite(target.models[model]["mape"]) for target in counted) for model in MODELS}
    best = min(averages, key=lambda model: averages[model])
    reached = averages[best] < GUIDE_MAPE_PERCENT
    measured = (
        f"Over the targets that count the best average MAPE is {number(averages[best], 3)} % ({model_label(best)})."
    )
    return Threshold(
        "maximum_average_mape_percent",
        GUIDE.maximum_average_mape_percent if reached else None,
        f"{measured} {_stands(reached)}",
    )


def _stands(reached: bool) -> str:  # noqa: FBT001 - one sentence or the other
    if reached:
        return "The guide's demand is within reach, so it stands."
    return "Nothing measured meets the guide's demand, so there is none; put it back if your model does."


def _skill_thresholds(findings: Findings) -> Iterator[Threshold]:
    yield Threshold(
        "minimum_skill",
        GUIDE.minimum_skill,
        "Better than the last value, the mean and the median of the last 15 minutes, on every target not named below.",
    )
    hard = [target for target in findings.targets if not target.learnable]
    reason = "On every target something simple beats the best baseline by more than chance: so must the model."
    if hard:
        reason = (
            "On these targets nothing measured beats the best baseline by more than chance, so a good model is as good"
            " as it, and chance alone puts its skill above or below 0: it may be under 0 by two standard errors."
        )
    if hard and len(hard) == len(findings.targets):
        reason += " That is every target: this policy also passes a model that only repeats the best baseline."
    yield Threshold("minimum_skill_by_target", {target.target: -_margin(target.noise) for target in hard}, reason)


def _margins(findings: Findings) -> Iterator[Threshold]:
    followed = [_of_baseline(target, "within_link_correlation") for target in findings.targets]
    keeps = all(within is not None and within >= FOLLOWED for within in followed)
    yield Threshold(
        "within_link_correlation_margin",
        GUIDE.within_link_correlation_margin if keeps else None,
        "On every target the best baseline follows the links: the model must follow them as well, but for chance."
        if keeps
        else f"On some target the best baseline's correlation within links is under {FOLLOWED:g} or undefined: mostly"
        " chance, so nothing is demanded.",
    )
    passing = smallest_detectable(1.0, findings.test_days)
    widest = max((_margin(target.peer_noise, passing) for target in findings.targets), default=MIN_MARGIN)
    yield Threshold(
        "champion_margin_percent",
        round(100 * widest, 1),
        "An equal challenger passes in 80 % of cases: the margin is the upper end of the 95 % interval over"
        f" {findings.test_days} test days, from the difference of the closest pair that was measured, on the noisiest"
        f" target, within {100 * MIN_MARGIN:g} to {100 * MAX_MARGIN:g} %.",
    )
    reasons = {
        "champion_rule": "No worse than the champion within the margins. `superior`: better in the weighted mean, too."
        " `expected`: better or equal in the mean by its estimate, and on no target shown to be worse.",
        "mean_margin_percent": "In the weighted mean over the targets.",
        "pooled_margin_percent": "Of each target's MAE over all windows, in which large links weigh most.",
        "champion_margin_percent_of": "Targets with a margin of their own.",
        "winkler_margin_percent": "Of each target's intervals, in the Winkler score: their width, and by how much they"
        " miss.",
        "anchor_margin_percent": "Above the best of the last twelve champions, in the weighted mean over the targets.",
        "target_weights": "Of the targets in the weighted mean; 1 for those not named.",
        "slice_margin_percent": "Within a slice (region, kind of link, hours, ...) the error may be this much above the"
        " champion's, before it blocks if that is significant.",
        "link_margin_percent": "A link is worse where its error is shown to be this much above the champion's.",
        "maximum_worse_links_percent": "Share of the links that may be worse.",
        "maximum_regret_percent": "What the consumer's settings may cost more than those by perfect knowledge.",
        "keeps_before_notice": "Number of runs in a row that keep production before an alert is sent.",
    }
    for name, reason in reasons.items():
        yield Threshold(name, getattr(GUIDE, name), reason)


def _calibration() -> Iterator[Threshold]:
    low, high = COVERAGE
    reason = f"Calibration: the 90 % intervals hold the actual value in {low:.0%} to {high:.0%} of the windows."
    yield Threshold("minimum_coverage", low, reason)
    yield Threshold("maximum_coverage", high, "Intervals that hold nearly everything say nothing.")


def _constants(findings: Findings) -> Iterator[Threshold]:
    yield Threshold(
        "minimum_test_windows",
        GUIDE.minimum_test_windows,
        f"Fewer are no test; this telemetry has {findings.test_windows:,}.",
    )
    yield Threshold(
        "maximum_latency_p99_ms", GUIDE.maximum_latency_p99_ms, "As in the guide: it does not depend on the network."
    )
    for name in ("maximum_parity_error", "maximum_parity_error_quantized"):
        yield Threshold(name, getattr(GUIDE, name), "As in the guide: it does not depend on the network.")


def _margin(noise: float | None, deviations: float = CHANCE) -> float:
    """That many standard errors, rounded up; the largest where the noise is unknown."""
    if noise is None:
        return MAX_MARGIN
    rounded = math.ceil(deviations * noise / MARGIN_STEP - 1e-9) * MARGIN_STEP
    return round(min(max(rounded, MIN_MARGIN), MAX_MARGIN), 6)


def _or_infinite(figure: float | None) -> float:
    return math.inf if figure is None else figure


def _of_baseline(target: TargetFindings, metric: str) -> float | None:
    return None if target.baseline is None else target.models[target.baseline][metric]


def _document(name: str, thresholds: list[Threshold], sentences: list[str], source: Source) -> str:
    """The policy as YAML, everything that led to it as comments."""
    header = [
        f"Suggested for the telemetry {source.origin}, {source.start[:10]} to {source.end[:10]}; to be reviewed.",
        "",
        f"Snapshot {source.snapshot_id}. Measured before its test part, which no number here has seen.",
        *sentences,
    ]
    lines = [_comment(each) for each in header]
    lines += [f"name: {name}", "version: 1"]
    for one in thresholds:
        value = yaml.safe_dump(one.value, default_flow_style=True, sort_keys=False, width=1000).splitlines()[0]
        lines += ["", _comment(one.reason), f"{one.name}: {value}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """The text as comment lines; nothing in it (a path, say) can end the comment or the document."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    wrapped = textwrap.wrap(printable, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in wrapped) or "#"
