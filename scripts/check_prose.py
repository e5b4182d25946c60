"""Check docs, docstrings, comments and messages with the substitution rules in styles/ (Vale's format).

Usage: python scripts/check_prose.py
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

STYLES = Path("styles/bwpredict")
SUFFIXES = (".md", ".py", ".html", ".j2", ".yaml", ".json", ".sh")
_BETWEEN_WORDS = r"[\s#]+"
ROOTS = ("benchmarks", "bwpredict", "dags", "deploy", "docs", "monitoring", "plugins", "scripts")
LEFT_OUT = "benchmarks/results/"


def rules() -> list[tuple[re.Pattern[str], str]]:
    """Each pattern, and what to write instead. Line breaks count as blanks."""
    found = []
    for path in sorted(STYLES.glob("*.yml")):
        for pattern, instead in yaml.safe_load(path.read_text())["swap"].items():
            words = pattern.replace(" ", _BETWEEN_WORDS)
            found.append((re.compile(rf"\b(?:{words})\b", re.IGNORECASE), instead))
    return found


def findings(path: str, text: str, known: list[tuple[re.Pattern[str], str]]) -> Iterator[str]:
    """A line for each phrase to replace: file, line, phrase, what to write instead."""
    for pattern, instead in known:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield f"{path}:{line}: {' '.join(match[0].split())!r}: use {instead}"


def main() -> int:
    """Print the findings; 1 if there are any."""
    paths = [*Path().glob("*.md"), *(path for root in ROOTS for path in Path(root).rglob("*"))]
    names = sorted(str(path) for path in paths if path.suffix in SUFFIXES and not str(path).startswith(LEFT_OUT))
    known = rules()
    found = [one for name in names for one in findings(name, Path(name).read_text(), known)]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
