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

from bwpredict.core.formatting import display_name, number, unit_of
from bwpredict.gate import decision
from bwpredict.registry_views.overview import Overview
from bwpredict.reports.svg_chart import Chart, line_chart
from bwpredict.schema import TARGETS
from bwpredict_airflow.extra_links import PREFIX, model_page, run_page

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
    "unfinished": ("info", "– unfinished"),
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


def charts(seen: Overview) -> list[Chart]:
    """Accuracy over the versions that are shown, oldest first."""
    rows = [row for row in reversed(seen.versions) if row.problem is None]
    versions = [row.version for row in rows]
    skill = {display_name(target): [row.skill.get(target) for row in rows] for target in TARGETS}
    made = (
        line_chart("Skill over the best simple baseline (above 0 is better)", versions, skill),
        line_chart("Average MAPE, %", versions, {"Average MAPE": [row.average_mape for row in rows]}, unit="%"),
    )
    return [chart for chart in made if chart]


def model_comparison(comparison: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each target: mean absolute error of challenger, champion and best baseline."""
    if not comparison:
        return []
    models, skill = comparison["models"], comparison["skill"]
    rows = []
    for target in comparison["targets"]:
        best = skill.get(target, {}).get("best_baseline")
        mae = {name: models[name]["per_target"][target]["mae"] for name in models}
        rows.append(
            {
                "target": f"{display_name(target)} [{unit_of(target)}]",
                "challenger": number(mae["challenger"]),
                "champion": number(mae.get("champion")),
                "baseline": number(mae.get(best)) if best else number(None),
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
