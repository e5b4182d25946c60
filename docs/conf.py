"""How Sphinx builds the documentation site (`make docs`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import reference_pages  # noqa: E402 - it is in scripts/

from bwpredict import __version__  # noqa: E402

project = "bwpredict"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"bwpredict {release}"
html_copy_source = html_show_sphinx = html_show_copyright = False
myst_heading_anchors = 4
smartquotes = False  # they turn the two hyphens of an option into a dash
default_role = "code"  # docstrings name code in single backquotes
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented"
autodoc_type_aliases = {"Array": "Array", "npt.ArrayLike": "ArrayLike"}
add_module_names = False

NAVIGATION = {
    "Tutorial": ["tutorial"],
    "How to: telemetry": ["your-data", "telemetry-sources", "policies", "tuning", "judge"],
    "How to: Airflow": ["airflow", "your-bucket", "your-gpu", "production", "kubernetes", "scale", "many-models"],
    "How to: use the model": ["consumers", "other-languages", "exporter", "formats", "security"],
    "How to: on call": ["on-call", "your-alerts", "monitoring", "review", "operations", "reproduce", "troubleshooting"],
    "Reference": ["reference/cli", "reference/settings", "reference/configuration", "reference/api", "glossary"],
    "Explanation": [
        "architecture",
        "training",
        "decisions",
        "guarantees",
        "accuracy",
        "ablations",
        "benchmarks",
        "design/index",
    ],
    "Project": ["contributing", "changelog", "security-policy"],
}
"""The side bar: captions, and the pages below them."""
BELOW = {
    "reference/cli": ["cli-telemetry", "cli-models", "cli-registry", "cli-forecasts"],
    "reference/api": ["api-serving", "api-errors"],
    "design/index": sorted(path.stem for path in (ROOT / "docs" / "design").glob("[0-9]*.md")),
}
"""Pages with subpages in the side bar."""
INCLUDED = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md", "security-policy": "SECURITY.md"}
"""Pages that show a file of the repository's root."""


def _before_parsing(_: Sphinx, page: str, source: list[str]) -> None:
    if page in INCLUDED:
        source[0] = _as_in_docs((ROOT / INCLUDED[page]).read_text())
    source[0] = reference_pages.fill_in(source[0])
    trees = NAVIGATION if page == "index" else {"": BELOW[page]} if page in BELOW else {}
    for caption, pages in trees.items():
        title = f":caption: {caption}\n" if caption else ""
        source[0] += f"\n```{{toctree}}\n:hidden:\n{title}\n" + "\n".join(pages) + "\n```\n"


def _as_in_docs(text: str) -> str:
    """The text of a file in the repository's root with its links as from docs/."""
    pages = {name: f"{page}.md" for page, name in INCLUDED.items()}
    return re.sub(r"\]\((?:docs/)?([^)]+)\)", lambda link: f"]({pages.get(link[1], link[1])})", text)


def _attribute_without_type(
    _: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Napoleon takes the words before a colon in an attribute's first line for its type; an empty comment has none."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]


def setup(app: Sphinx) -> None:
    """Called by Sphinx: fill in the generated pages, and give the start page the navigation."""
    app.connect("source-read", _before_parsing)
    app.connect("autodoc-process-docstring", _attribute_without_type, priority=400)
