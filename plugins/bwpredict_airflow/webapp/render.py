"""From documents to pages: the templates, what they may call, and the headers that every answer carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from bwpredict.core.formatting import UNDEFINED, count_of, display_name, number, quantity
from bwpredict.gate import decision
from bwpredict.registry_views.overview import Overview
from bwpredict.reports.champion_section import change_kind, difference_rows, signed_percent
from bwpredict.reports.sorting import SORT_SCRIPT, SORT_SCRIPT_SOURCE, SORT_SCRIPT_TEXT
from bwpredict.reports.svg_chart import WIDTH, Chart, line_chart
from bwpredict.schema import TARGETS
from bwpredict.validation.result import reported
from bwpredict_airflow.extra_links import PREFIX, model_page, run_page
from bwpredict_airflow.webapp.runs import CHANGE

_HERE = Path(__file__).parent
STATIC = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "links.js": "text/javascript",
    SORT_SCRIPT: "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
OUR_PAGES = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy of the pages made here: their own style and script, and nothing inline."""
FROM_A_RUN = (
    f"default-src 'none'; script-src {SORT_SCRIPT_SOURCE}; style-src 'unsafe-inline'; img-src 'self' data:;"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
"""Of pages that a run wrote: whatever telemetry or store put there, no script runs but the card's own, named by its
hash, which sorts tables; and nothing is sent."""
BARS_HEIGHT = 120
_MARKS = {
    "promote": ("good", "✓ promoted"),
    "bootstrap": ("good", "✓ first model"),
    "forced": ("warn", "! forced"),
    "keep": ("info", "= production stays"),
    "reject": ("bad", "✗ rejected"),
    "telemetry": ("bad", "✗ telemetry"),
    "unfinished": ("info", "– no decision"),
    "running": ("info", "… running"),
    "queued": ("info", "… queued"),
    "failed": ("bad", "✗ error"),
    "good": ("good", "✓ healthy"),
    "warn": ("warn", "! attention"),
    "bad": ("bad", "✗ action needed"),
    "pass": ("good", "✓ pass"),
    "fail": ("bad", "✗ fail"),
    "undecided": ("warn", "? undecided"),
    "warning": ("warn", "! note"),
    "not applicable": ("info", "– left out"),
    "info": ("info", "· noted"),
}


def render_page(model: str, template: str, *, status: int = 200, **values: Any) -> Response:
    """The template as an answer, with every value escaped; `model` is the one that the page is about, if any."""
    ours = {"model": model, "prefix": model_page(model) if model else PREFIX, "run_page": partial(run_page, model)}
    html = _environment().get_template(template).render(**ours, **values)
    return HTMLResponse(html, status, headers=_headers(OUR_PAGES))


def stored(content: bytes, media_type: str) -> Response:
    """A file of a run or version: shown, never run."""
    return Response(content, media_type=media_type, headers=_headers(FROM_A_RUN))


def static(name: str) -> Response:
    """One of the pages' own files."""
    content = SORT_SCRIPT_TEXT.encode() if name == SORT_SCRIPT else (_HERE / "static" / name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"X-Content-Type-Options": "nosniff"})


def charts(seen: Overview, mape_limit: float | None) -> list[Chart]:
    """Accuracy over the versions that are shown, oldest first; `mape_limit` is what the gate's policy demands."""
    rows = [row for row in reversed(seen.versions) if row.problem is None]
    versions, months = [row.version for row in rows], [row.month for row in rows]
    skill = {display_name(target): [row.skill.get(target) for row in rows] for target in TARGETS}
    mape = {"Average MAPE": [row.average_mape for row in rows]}
    made = (
        line_chart("Skill over the best simple forecast", versions, skill, axis=months, limits={"no better": 0.0}),
        line_chart("Average MAPE, %", versions, mape, unit="%", axis=months, limits={"limit of the gate": mape_limit}),
    )
    return [chart for chart in made if chart]


def model_comparison(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each target: mean absolute error of challenger, champion and best baseline on the same test days."""
    if not comparison:
        return []
    models, skill = comparison["models"], comparison["skill"]
    changes = {row["name"]: row for row in difference_rows(comparison.get("difference"))}
    rows = []
    for target in comparison["targets"]:
        best, name = skill.get(target, {}).get("best_baseline"), display_name(target)
        mae = {model: models[model]["per_target"][target]["mae"] for model in models}
        change = changes.get(name, {"percent": UNDEFINED, "interval": UNDEFINED, "kind": "unknown"})
        rows.append(
            {
                "target": name,
                "challenger": quantity(mae["challenger"], target, 3),
                "champion": quantity(mae.get("champion"), target, 3),
                "change": change["percent"],
                "interval": "" if change["interval"] == UNDEFINED else change["interval"],
                "kind": change["kind"],
                "baseline": quantity(mae.get(best), target, 3) if best else UNDEFINED,
                "baseline_name": display_name(best or "no baseline"),
                "skill": number(skill.get(target, {}).get("challenger", {}).get("best_baseline"), 3),
            }
        )
    return rows


@dataclass(frozen=True)
class Bars:
    """A histogram now and then, as SVG bars in a box of `WIDTH` by `BARS_HEIGHT`: (x, y, width, height, label) each."""

    column: str
    now: list[tuple[float, float, float, float, str]]
    then: list[tuple[float, float, float, float, str]]
    ends: tuple[str, str]
    """Texts below the first and the last bar."""


@dataclass(frozen=True)
class Validation:
    """The checks of a validation, the failed ones most serious first, and histograms of what has shifted."""

    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    passed: list[dict[str, Any]]
    histograms: list[Bars]


def validation(document: dict[str, Any]) -> Validation | None:
    """The document of kind `validation`, for the page; None where there is none."""
    if not document:
        return None
    failed = reported(document)
    return Validation(
        errors=[check for check in failed if check["severity"] == "error"],
        warnings=[check for check in failed if check["severity"] == "warning"],
        passed=[check for check in document["checks"] if check["passed"]],
        histograms=[_bars(one) for one in document.get("distributions", [])],
    )


def _bars(distribution: dict[str, Any]) -> Bars:
    """Both sides share an axis of percent; a bin is a pair of bars, that of then behind that of now."""
    labels = [_bin_label(one, distribution["column"]) for one in distribution["bins"]]
    highest = max([*distribution["now"], *distribution["then"], 1e-9])
    width = WIDTH / len(labels)

    def bars(shares: list[float], side: str, left: float) -> list[tuple[float, float, float, float, str]]:
        return [
            (
                round(width * (place + left), 1),
                round(BARS_HEIGHT * (1 - share / highest), 1),
                round(width * 0.42, 1),
                round(BARS_HEIGHT * share / highest, 1),
                f"{label}: {100 * share:.1f} % {side}",
            )
            for place, (label, share) in enumerate(zip(labels, shares, strict=True))
        ]

    then = bars(distribution["then"], "in the champion's training data", 0.06)
    now = bars(distribution["now"], "now", 0.52)
    return Bars(distribution["column"], now, then, (labels[0], labels[-1]))


def _bin_label(one: str | list[float], column: str) -> str:
    if isinstance(one, str):
        return one
    low, high = one
    return "0 or less" if high == 0 else f"{quantity(low, column, 3)} to {quantity(high, column, 3)}"


def _headers(policy: str) -> dict[str, str]:
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined)
    environment.globals |= {
        "root": PREFIX,
        "mark": lambda verdict: _MARKS.get(verdict, ("info", verdict)),
        "targets": TARGETS,
        "bars_box": (WIDTH, BARS_HEIGHT),
    }
    environment.filters |= {
        "number": number,
        "words": display_name,
        "moment": _moment,
        "count_of": count_of,
        "signed_percent": signed_percent,
        "change_kind": lambda row: change_kind(row[f"{CHANGE}.low"], row[f"{CHANGE}.high"]),
        "describe": decision.check_rows,
        "outcome": decision.shown_outcome,
        "breakable": _breakable,
    }
    return environment


def _breakable(name: str) -> Markup:
    """A long name of dotted words, which a browser may break after each."""
    return Markup("<wbr>").join(re.findall(r"[^._]+[._]?|[._]", name))


def _moment(iso: str) -> str:
    """`2026-11-01 00:14` of an ISO 8601 time."""
    return iso[:16].replace("T", " ")
