"""The gate: every check of a challenger with value, threshold and verdict, and the decision they make."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from bwpredict import schema
from bwpredict.config import SHIPPED, GatePolicy
from bwpredict.core.formatting import display_name, number
from bwpredict.gate import Document
from bwpredict.gate.accuracy import baseline_checks, guide_checks, regret_check
from bwpredict.gate.anchor import anchor_check
from bwpredict.gate.champion import champion_checks, undecided
from bwpredict.gate.change import change_headline, change_note
from bwpredict.gate.check import Check, absent_targets, check_flag, check_threshold, info_check, nested_value, number_in
from bwpredict.gate.imported import batch_check, imported_checks, imported_document
from bwpredict.gate.overrides import Override, override_document
from bwpredict.gate.stream import stream_checks

CASES = {
    "champion": "The challenger is compared with the champion in production.",
    "no_champion": "Nothing is in production, so there is no champion to compare with.",
    "forced_bootstrap": "A champion is in production, but a bootstrap was forced: it does not decide.",
    "unusable_champion": "The champion in production cannot be run on these windows, so nothing shows that the"
    " challenger is no worse; only a forced bootstrap can pass.",
    "unknown_champion": "The comparison does not say whether there is a champion in production.",
}
"""How the challenger relates to what is in production, by name."""

_VERDICTS = {"not_applicable": "not applicable", "open": "undecided"}
_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth")
_SIGNS = {">=": "≥", "<=": "≤", "==": "="}


def make_decision(
    comparison: Document,
    parity: Document,
    latency: Document,
    policy: GatePolicy,
    *,
    version: str,
    run_id: str,
    month: str,
    onnx_sha256: str,
    snapshot_id: str,
    decided_at: str,
    override: Override = Override(),  # noqa: B008 - frozen
    policy_origin: str = SHIPPED,
    imported: Document | None = None,
    attempt: int | None = None,
    drift: str = "",
) -> dict[str, Any]:
    """The `decision` document.

    Its outcome is "promote", "bootstrap" (no champion decided), "keep" (not shown to be as good as the champion, not
    shown to be worse, and nothing is broken) or "reject".

    Args:
        comparison, parity, latency: documents; what is missing in them fails the checks that need it.
        onnx_sha256: of the file that would be published; it must be the file that was compared.
        decided_at: ISO 8601, UTC.
        override: what a person asked for; with `champion`, the champion has no part in the verdict.
        policy_origin: where the policy came from, for the record.
        imported: the document of kind `imported_model`; None: the run trained the model.
        attempt: number of the runs that have judged a challenger on this month, this one included; None: not known.
        drift: the sentence on what differs from the champion's telemetry; empty: nothing does. It decides nothing.
    """
    case = _case(comparison, force_bootstrap=override.champion)
    checks = _all_checks(comparison, parity, latency, policy, case, imported, version=version, onnx_sha256=onnx_sha256)
    outcome = _outcome(checks, case)
    champion = nested_value(comparison, "champion_version")
    overridden, elsewhere = override_document(override, comparison, case), imported_document(imported)
    before, after = (told["sentence"] if told else "" for told in (overridden, elsewhere))
    said = (before, _reason(outcome, checks, case, champion), change_headline(comparison), drift, after)
    return {
        "version": version,
        "outcome": outcome,
        "passed": outcome in ("promote", "bootstrap"),
        "reason": " ".join(filter(None, said)),
        "case": case,
        "run_id": run_id,
        "month": month,
        "attempt": attempt,
        "snapshot_id": snapshot_id,
        "decided_at": decided_at,
        "challenger_sha256": onnx_sha256,
        "champion_version": champion if isinstance(champion, str) else None,
        "champion_sha256": nested_value(comparison, "champion_sha256"),
        "force_bootstrap": override.champion,
        "override": overridden,
        "trained_elsewhere": elsewhere,
        "policy": _policy_document(policy, policy_origin),
        "checks": [check.document() for check in checks],
    }


def _policy_document(policy: GatePolicy, origin: str) -> dict[str, Any]:
    thresholds = policy.model_dump(mode="json", exclude={"name", "version"})
    told = {"name": policy.name, "version": policy.version, "sha256": policy_digest(policy), "origin": origin}
    return told | {"thresholds": thresholds}


def _all_checks(
    comparison: Document,
    parity: Document,
    latency: Document,
    policy: GatePolicy,
    case: str,
    imported: Document | None,
    *,
    version: str,
    onnx_sha256: str,
) -> list[Check]:
    """The checks of a decision; those of targets that the telemetry lacks are left out, but for one that says so."""
    checks = [
        *_test_checks(comparison, policy, version, onnx_sha256),
        *guide_checks(comparison, policy),
        *baseline_checks(comparison, policy),
        regret_check(comparison, policy),
        *champion_checks(comparison, policy, case, CASES[case]),
        *change_note(comparison),
        *_anchor_checks(comparison, policy, case),
        *_coverage_checks(comparison, policy),
        *stream_checks(comparison, parity, policy, case, CASES[case]),
        *_export_checks(parity, latency, policy, case, imported),
        *_order_checks(comparison, parity),
        *imported_checks(imported, comparison),
    ]
    absent = absent_targets(comparison)
    return [*_absent_checks(comparison, case, absent), *(check for check in checks if check.target not in absent)]


def shown_outcome(decision: Document) -> str:
    """The outcome for people: `forced` where a person overrode something and the model passed, else the outcome."""
    forced = decision["passed"] and (decision.get("override") or decision["case"] == "forced_bootstrap")
    return "forced" if forced else str(decision["outcome"])


def attempt_sentence(decision: Document) -> str:
    """How often challengers have been judged on this month; empty where it is not known."""
    number_of = decision.get("attempt")
    if number_of is None:
        return ""
    known = number_of <= len(_ORDINALS)
    told = f"{_ORDINALS[number_of - 1]} attempt" if known else f"Attempt number {number_of}"
    told += f" at {decision['month']}"
    if number_of == 1:
        return f"{told}."
    earlier = "an earlier run has" if number_of == 2 else f"{number_of - 1} earlier runs have"
    return (
        f"{told}: {earlier} judged a challenger on the same test days. Each further attempt makes it more likely that"
        " a model passes by chance."
    )


def policy_digest(policy: GatePolicy) -> str:
    """Hex sha256 of the whole policy: the same for equal policies only."""
    return hashlib.sha256(json.dumps(policy.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def summary(decision: Document) -> str:
    """The reason, then a line for each check that failed or stayed open."""
    lines = [f"- {headline(check)}" for check in decision["checks"] if check["verdict"] in ("fail", "open")]
    return "\n".join([decision["reason"], *lines])


def headline(check: Document) -> str:
    """What a check that did not pass found, in a sentence; documents from before headlines have none."""
    if check.get("headline"):
        return str(check["headline"])
    if check["value"] is None:
        return str(check["sentence"])
    if isinstance(check["value"], bool):
        return f"Not met: {check['sentence']}"
    return f"{check['sentence'].removesuffix('.')}; it is {_value(check)}."


def check_rows(decision: Document) -> list[tuple[str, str, str, str]]:
    """A row per check, for a table: verdict, sentence, value, threshold."""
    return [
        (_VERDICTS.get(check["verdict"], check["verdict"]), check["sentence"], _value(check), _threshold(check))
        for check in decision["checks"]
    ]


def _value(check: Document) -> str:
    if check["value"] is None:
        return number(None)
    interval = check.get("interval")
    within = f" (interval {number(interval[0], 3)} to {number(interval[1], 3)})" if interval else ""
    return f"{number(check['value'])} {check['unit']}".strip() + within


def _threshold(check: Document) -> str:
    if check["threshold"] is None:
        return number(None)
    sign = _SIGNS.get(check["comparison"], check["comparison"])
    return f"{sign} {number(check['threshold'])} {check['unit']}".strip()


def _case(comparison: Document, *, force_bootstrap: bool) -> str:
    """Which of `CASES` this is. Statements that do not fit together are an unknown champion, never none."""
    champion, problem = (nested_value(comparison, key) for key in ("champion_version", "champion_problem"))
    compared = nested_value(comparison, "models", "champion") is not None
    if isinstance(comparison, Mapping) and "champion_version" in comparison and champion is None:
        return "unknown_champion" if compared or problem is not None else "no_champion"
    if not isinstance(champion, str) or not champion:
        return "unknown_champion"
    if force_bootstrap:
        return "forced_bootstrap"
    return "champion" if compared and problem is None else "unusable_champion"


def _reason(outcome: str, checks: list[Check], case: str, champion: Any) -> str:
    """The verdict, and what it rests on; checks that only note a figure do not count in it."""
    failed, undecided = (
        [headline(check.document()) for check in checks if check.verdict == verdict] for verdict in ("fail", "open")
    )
    passed = sum(check.verdict == "pass" for check in checks)
    counted = passed + len(failed) + len(undecided)
    if outcome == "reject":
        return f"Rejected: {failed[0]}{_more(failed, counted, 'failed')}"
    if outcome == "keep":
        return f"Production stays: {undecided[0]}{_more(undecided, counted, 'are undecided')}"
    if outcome == "promote":
        return f"Promote: all {passed} checks passed, those against champion {champion} among them."
    return f"Bootstrap: all {passed} checks that apply passed. {CASES[case]}"


def _more(named: list[str], counted: int, what: str) -> str:
    """How many checks beside the first one ended alike."""
    return f" {len(named)} of {counted} checks {what}." if len(named) > 1 else ""


def _outcome(checks: list[Check], case: str) -> str:
    """A check that failed rejects, one that stays open keeps what is in production."""
    verdicts = {check.verdict for check in checks}
    if "fail" in verdicts:
        return "reject"
    if "open" in verdicts:
        return "keep"
    return "promote" if case == "champion" else "bootstrap"


def _test_checks(comparison: Document, policy: GatePolicy, version: str, onnx_sha256: str) -> Iterator[Check]:
    compared = nested_value(comparison, "challenger_version"), nested_value(comparison, "challenger_sha256")
    sentence = "The model that was compared must be the one that would be published."
    yield check_flag("same_model", sentence, compared == (version, onnx_sha256))
    windows, fewest = nested_value(comparison, "test", "windows"), policy.minimum_test_windows
    sentence = f"The test set must hold at least {fewest:,} windows."
    yield check_threshold("test_windows", sentence, windows, ">=", fewest, low=0)
    for count, quality in (("non_finite_forecasts", "be finite"), ("out_of_bounds_forecasts", "keep physical bounds")):
        sentence = f"The forecasts for every test window must {quality}."
        found = nested_value(comparison, "models", "challenger", count)
        yield check_threshold(count, sentence, found, "==", 0, low=0, unit="windows")


def _absent_checks(comparison: Document, case: str, absent: list[str]) -> Iterator[Check]:
    """Targets that the telemetry lacks are not judged, but no champion that forecasts them gives way."""
    known = nested_value(comparison, "champion_absent_targets")
    for target in absent:
        why = f"{display_name(target)}: the telemetry lacks it, or training never saw it change"
        kept = case == "no_champion" or (isinstance(known, list) and target in known)
        if kept or case == "forced_bootstrap":
            sentence = f"{why}; it is neither forecast nor judged."
            yield info_check("absent", sentence, None, "==", None, verdict="not_applicable", target=target)
        else:
            sentence = f"{why}, but the champion forecasts it; check its collector."
            yield check_flag(f"absent.{target}", sentence, fact=False)


def _anchor_checks(comparison: Document, policy: GatePolicy, case: str) -> Iterator[Check]:
    """Like the checks against the champion, it decides only where there is one."""
    check = anchor_check(comparison, policy)
    if case in ("champion", "forced_bootstrap"):
        yield check if case == "champion" else undecided(check, case, CASES[case])


def _coverage_checks(comparison: Document, policy: GatePolicy) -> Iterator[Check]:
    """On each target, how often the interval holds the actual values: it decides where the policy says how often."""
    level = number_in(nested_value(comparison, "intervals", "level"), 0, 1)
    judged = policy.minimum_coverage is not None or policy.maximum_coverage is not None
    for target in schema.TARGETS:
        coverage = nested_value(comparison, "intervals", "per_target", target, "coverage")
        if judged:
            yield _coverage_check(target, coverage, policy)
        else:
            told = "The model has no intervals." if level is None else f"The intervals' nominal level is {level:g}."
            sentence = f"{display_name(target)}: the share of the test windows within their interval is shown. {told}"
            yield info_check("coverage", sentence, coverage, ">=", None, target=target)


def _coverage_check(target: str, coverage: Any, policy: GatePolicy) -> Check:
    """Within both bounds; the check shows the one that fails, or else the lower one."""
    low, high = policy.minimum_coverage, policy.maximum_coverage
    bounds = [f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None]
    sentence = (
        f"{display_name(target)}: the share of the test windows within their interval must be {' and '.join(bounds)}."
    )
    figure = number_in(coverage, 0, 1)
    too_large = figure is not None and high is not None and figure > high
    if high is not None and (low is None or too_large):
        return check_threshold("coverage", sentence, coverage, "<=", high, target=target, low=0, high=1)
    return check_threshold("coverage", sentence, coverage, ">=", low, target=target, low=0, high=1)


def _export_checks(
    parity: Document, latency: Document, policy: GatePolicy, case: str, imported: Document | None
) -> Iterator[Check]:
    tested = bool(nested_value(parity, "cases"))
    yield check_flag("onnx_checker", "onnx.checker must accept the model file.", nested_value(parity, "onnx_checker"))
    compared = batch_check if imported else _parity_check
    yield compared(parity, policy, tested=tested)
    for fact, quality in (("all_finite", "be finite"), ("bounds_kept", "keep physical bounds")):
        sentence = f"All forecasts for real and extreme windows must {quality}."
        yield check_flag(fact, sentence, nested_value(parity, fact) if tested else None)
    yield _latency_check(latency, policy, case)


def _latency_check(latency: Document, policy: GatePolicy, case: str) -> Check:
    """Above the limit on a busy machine, nothing was measured: production stays, and a first model is not published.

    Within the limit it passes on a busy machine, too: others can only make it slower.
    """
    value, limit = nested_value(latency, "p99_ms"), policy.maximum_latency_p99_ms
    sentence = (
        f"99 of 100 single-window forecasts must take at most {limit:g} ms (each in the best of several rounds, since"
        " other processes may use the machine)."
    )
    check = check_threshold("latency_p99", sentence, value, "<=", limit, low=0, unit="ms")
    if check.verdict == "pass" or check.value is None or nested_value(latency, "busy") is not True:
        return check
    best, worst = (number(nested_value(latency, "reference", key), 2) for key in ("p50_ms", "p99_ms"))
    told = (
        f"Latency could not be measured because the machine was busy: a reference graph took up to {worst} ms, and"
        f" {best} ms undisturbed. Run the task `export` again when the machine is less busy."
    )
    return replace(check, verdict="open" if case == "champion" else "fail", headline=told)


def _parity_check(parity: Document, policy: GatePolicy, *, tested: bool) -> Check:
    """A model with int8 weights is judged by a bound of its own, which its sentence says."""
    quantized = nested_value(parity, "quantized") is True
    bound = policy.maximum_parity_error_quantized if quantized else policy.maximum_parity_error
    sentence = f"The largest relative difference between ONNX Runtime and torch must be at most {bound:g}."
    if quantized:
        sentence += f" The model has int8 weights; a float32 model's bound is {policy.maximum_parity_error:g}."
    error = nested_value(parity, "max_relative_error") if tested else None
    return check_threshold("parity", sentence, error, "<=", bound, low=0)


def _order_checks(comparison: Document, parity: Document) -> Iterator[Check]:
    """Of a model with intervals, as far as either document tells."""
    kept = nested_value(parity, "order_kept")
    if nested_value(comparison, "intervals") is not None or kept is not None:
        sentence = "Every interval, for real and extreme windows, must contain its own forecast."
        yield check_flag("interval_order", sentence, kept if nested_value(parity, "cases") else None)
