"""docs/guarantees.md names tests; each of them must exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_guarantees_name_exists() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    named = set(re.findall(r"^- `(\w+)`$", text, re.MULTILINE))
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:def |class )?(test_\w+|Test\w+)\b", source, re.MULTILINE))
    assert len(named) > 30
    assert named - there == set()


def test_every_guarantee_names_a_test() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
    for section in text.split("\n## ")[1:]:
        assert "\n- `test_" in section or section.startswith("What is not guaranteed"), section.splitlines()[0]
