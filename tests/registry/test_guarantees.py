"""docs/guarantees.md and docs/on-call.md name tests; each of them must exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = pytest.mark.parametrize(("page", "least"), [("guarantees", 30), ("on-call", 20)])


@PAGES
def test_every_test_that_a_page_names_exists(page: str, least: int) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    named = set(re.findall(r"^- `(\w+)`$", text, re.MULTILINE))
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:def |class )?(test_\w+|Test\w+)\b", source, re.MULTILINE))
    assert len(named) > least
    assert named - there == set()


@PAGES
def test_every_section_names_a_test(page: str, least: int) -> None:
    del least
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    for section in text.split("\n## ")[1:]:
        assert "\n- `test_" in section or section.startswith("What is not guaranteed"), section.splitlines()[0]
