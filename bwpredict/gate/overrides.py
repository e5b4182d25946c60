"""What a person overrode in a run, by whom and why: the comparison with the champion, the telemetry's validation."""

from __future__ import annotations

from dataclasses import dataclass

from bwpredict import schema
from bwpredict.core.formatting import display_name, number
from bwpredict.gate import Document
from bwpredict.gate.check import nested_value, number_in

_WORDS = {"champion": "the comparison with the champion", "telemetry": "the validation of the telemetry"}


@dataclass(frozen=True)
class Override:
    """What a person asked a run to override."""

    champion: bool = False
    """The comparison with the champion: a forced bootstrap."""
    telemetry: bool = False
    """The validation of the telemetry."""
    by: str = ""
    """The person; empty: unknown."""
    reason: str = ""


def override_document(override: Override, comparison: Document, case: str) -> dict[str, str] | None:
    """The `override` part of a decision; None where nothing was overridden. `case` is one of the gate's `CASES`."""
    asked = {"champion": override.champion and case == "forced_bootstrap", "telemetry": override.telemetry}
    named = " and ".join(words for key, words in _WORDS.items() if asked[key])
    if not named:
        return None
    reason = override.reason.rstrip(".") or "no reason given"
    sentence = f"{override.by or 'A person'} overrode {named}: {reason}."
    if asked["champion"]:
        sentence = f"{_forced(comparison)} {sentence}"
    return {"by": override.by, "reason": override.reason, "sentence": sentence}


def publication_reason(decision: Document, approval: Document | None) -> str | None:
    """What the registry's history says of the people behind a publication; None: nobody had a part in it.

    It names a model trained elsewhere, and who states what that model has seen.
    """
    override = decision.get("override")
    elsewhere = decision.get("trained_elsewhere")
    said = [part["sentence"] for part in (override, elsewhere) if part]
    if approval:
        said.append(f"{approval['approved_by']} approved the publication.")
    return " ".join(said) or None


def _forced(comparison: Document) -> str:
    """How a forced challenger compares with the champion that does not decide."""
    figures = nested_value(comparison, "difference", "per_target")
    percents = {target: number_in(nested_value(figures, target, "percent")) for target in schema.TARGETS}
    known = {target: percent for target, percent in percents.items() if percent is not None}
    worse = {target: percent for target, percent in known.items() if percent > 0}
    if not known:
        return "Forced: there is no comparison with the champion."
    if not worse:
        return f"Forced: by estimate, better than the champion on all {len(known)} targets."
    most = max(worse, key=lambda target: worse[target])
    return (
        f"Forced: worse than the champion on {len(worse)} of {len(known)} targets"
        f" (most on {display_name(most)}: {number(worse[most], 2)} %)."
    )
