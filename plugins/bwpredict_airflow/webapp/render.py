"""From documents to pages: the templates, what they may call, and the headers that every answer carries."""

from __future__ import annotations

import re
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
from bwpredict.reports.svg_chart import Chart, line_chart
from bwpredict.schema import TARGETS
from bwpredict_airflow.extra_links import PREFIX, model_page, run_page
from bwpredict_airflow.webapp.runs import CHANGE

_HERE = Path(__file__).parent
STATIC = {
    "style.css": "text/css",
    "page.js": "text/javascript",
    "links.js": "text/javascript",
    "uPlot.iife.min.js": "text/javascript",
    "uPlot.min.css": "text/css",
}
OUR_PAGES = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'self'"
)
"""Content-Security-Policy of the pages made here: their own style and script, and nothing inline."""
FROM_A_RUN = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; base-uri 'none';"
    " frame-ancestors 'self'"
)
"""Of pages that a run wrote: no script runs in them, whatever telemetry or store put there, and nothing is sent."""
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
    "warn": ("warn", "! look"),
    "bad": ("bad", "✗ act"),
    "pass": ("good", "✓ pass"),
    "fail": ("bad", "✗ fail"),
    "cannot tell": ("warn", "? cannot tell"),
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
    content = (_HERE / "static" / name).read_bytes()
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


def drift(validation: dict[str, Any]) -> list[dict[str, Any]]:
    """What validation said of distributions, what stands out first."""
    checks = [check for check in validation.get("checks", []) if "distribution" in check["suite"]]
    return sorted(checks, key=lambda check: (check["passed"], check["id"]))


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
