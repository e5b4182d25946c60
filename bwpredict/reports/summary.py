"""A run in a few lines of Markdown: for alerts, approvals, and whoever reads a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bwpredict.gate.decision import attempt_sentence, headline
from bwpredict.reports.champion_section import difference_rows

_MAX_FAILED = 8
_MARKS = {"fail": "✗", "open": "?"}
"""Of the checks that are listed."""


def summary_markdown(decision: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """The verdict, what failed, and challenger against champion, as Markdown."""
    champion = decision["champion_version"]
    basis = (
        f"Policy {_plain(decision['policy']['name'])}, version {decision['policy']['version']}. Run"
        f" {_plain(decision['run_id'])}, month {decision['month']}. In production then:"
        f" {_plain(champion) if champion else 'nothing'}. {attempt_sentence(decision)}"
    ).rstrip()
    lines = [f"**{_plain(decision['version'])}**: {_plain(decision['reason'])}", "", basis]
    failed = [
        f"- {_MARKS[check['verdict']]} {_plain(headline(check))}"
        for check in sorted(decision["checks"], key=lambda check: str(check["verdict"]))
        if check["verdict"] in _MARKS
    ]
    if failed:
        lines += ["", *failed[:_MAX_FAILED]]
        if len(failed) > _MAX_FAILED:
            lines.append(f"- and {len(failed) - _MAX_FAILED} more")
    rows = difference_rows(comparison.get("difference"))
    if rows:
        lines += ["", "| error against the champion's | difference | 95 % interval | over all windows |"]
        lines += ["| --- | --- | --- | --- |"]
        lines += [f"| {row['name']} | {row['percent']} | {row['interval']} | {row['pooled']} |" for row in rows]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text of others, without what Markdown or HTML would take for its own."""
    escaped = "".join(f"\\{character}" if character in "\\`*[]<>|" else character for character in str(text))
    return " ".join(escaped.split())
