"""Make the Data Docs self-contained, and add an index page that lists the failed checks in plain sentences."""

from __future__ import annotations

import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

DATA_DOCS_INDEX = Path("data_docs/index.html")

_FETCHED = re.compile(
    r"""<link\b[^>]*>|<img\b[^>]*src="https?:[^>]*>|<(script|footer)\b.*?</\1>|url\(["']?https?:[^)]*\)""", re.DOTALL
)
"""What a page would load or run: style sheets, icons, logos, scripts, and a footer with a newsletter sign-up."""

# Great Expectations does not escape values, and a value can be markup.
_POLICY = (
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'\">"
)


def finish_data_docs(output: Path, result: dict[str, Any], reported: list[dict[str, Any]]) -> None:
    """Rewrite every page under `output/data_docs`, and replace its index by one of the reported checks' sentences.

    Great Expectations' pages take their style sheets, scripts and logo from six other hosts; here they
    get one style sheet of their own, and their scripts go.
    """
    site = (output / DATA_DOCS_INDEX).parent
    style = _resource("data_docs.css")
    for path in site.rglob("*.html"):
        path.write_text(_offline(path.read_text("utf-8"), style), "utf-8")
    shutil.rmtree(site / "static", ignore_errors=True)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_resource("index.html"))
    page = template.render(result=result, reported=reported, style=style, pages=_pages(site))
    (output / DATA_DOCS_INDEX).write_text(page, "utf-8")


def _offline(page: str, style: str) -> str:
    return _FETCHED.sub("", page).replace("</head>", f"{_POLICY}<style>{style}</style></head>", 1)


def _pages(site: Path) -> list[tuple[str, str]]:
    """(title, link) of each page of results, and of each suite."""
    results = sorted(site.glob("validations/**/*.html"))
    titles = [f"{path.relative_to(site).parts[1]}: {path.relative_to(site).parts[2]}" for path in results]
    suites = sorted(site.glob("expectations/*.html"))
    pages = [*zip(titles, results, strict=True), *((f"{path.stem}: what is expected", path) for path in suites)]
    return [(title, path.relative_to(site).as_posix()) for title, path in pages]


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
