"""Summarize a validation: the failed checks, most serious first."""

from __future__ import annotations

from typing import Any

from bwpredict.core.formatting import count_of, display_name

Document = dict[str, Any]

_NAMED = 3
"""Columns that a sentence names."""


def summary(result: Document, *, most: int = 12) -> str:
    """The verdict, then one line for each of at most `most` failed checks, errors first."""
    failed = reported(result)
    errors = sum(check["severity"] == "error" for check in failed)
    verdict = "passed" if result["passed"] else "failed"
    counts = f"{count_of(errors, 'error')}, {count_of(len(failed) - errors, 'warning')}"
    lines = [f"Validation {verdict}: {result['counts']['declared']} checks, {counts}."]
    lines += [f"- {check['severity'].upper()} {check['sentence']}" for check in failed[:most]]
    if len(failed) > most:
        lines.append(f"- and {len(failed) - most} more.")
    return "\n".join([*lines, *([result["note"]] if result["first_month"] else [])])


def stopped_sentence(result: Document) -> str:
    """Why validation stopped the run: the number of errors, and the most serious one."""
    errors = [check for check in reported(result) if check["severity"] == "error"]
    if not errors:
        return "The telemetry is not fit to train on; see the Data Docs."
    first = "" if len(errors) == 1 else f" {count_of(len(errors), 'error')}, the most serious:"
    return f"The telemetry is not fit to train on.{first} {errors[0]['sentence']}"


def drift_sentence(result: Document) -> str:
    """The columns that have drifted, for the decision's reason; empty if none has."""
    failed = (check for check in result["checks"] if not check["passed"] and check["evaluated"])
    drifted = [display_name(check["column"]) for check in failed if check["id"].startswith("distributions.drift.")]
    if not drifted:
        return ""
    more = [f"{len(drifted) - _NAMED} more"] if len(drifted) > _NAMED else []
    return f"Drift since the champion's training data: {', '.join(drifted[:_NAMED] + more)}."


def reported(result: Document) -> list[Document]:
    """The failed checks to report, without the warnings on figures that are errors already.

    Errors come first. Among them, what could not be checked and what concerns the whole telemetry stands before
    what concerns a share of the rows, and a larger share before a smaller one.
    """
    failed = {check["id"]: check for check in result["checks"] if not check["passed"]}
    told = [
        check
        for name, check in failed.items()
        if not (name.endswith(".warning") and name.removesuffix("warning") + "error" in failed)
    ]
    return sorted(told, key=_seriousness)


def _seriousness(check: Document) -> tuple[bool, bool, float]:
    share = check["unexpected_share"]
    return check["severity"] != "error", check["evaluated"], -1.0 if share is None else -share
