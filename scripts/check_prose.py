"""Check docs, docstrings, comments and messages with the substitution rules in styles/ (Vale's format).

Usage: python scripts/check_prose.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

STYLES = Path("styles/bwpredict")
SUFFIXES = (".md", ".py", ".html", ".j2", ".yaml", ".json", ".sh")
_BETWEEN_WORDS = r"[\s#]+"
LEFT_OUT = ("tests/", "styles/", "benchmarks/results/")


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
    """Print the findings in the files that git knows; 1 if there are any."""
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True)  # noqa: S607
    paths = [path for path in listed.stdout.splitlines() if path.endswith(SUFFIXES) and not path.startswith(LEFT_OUT)]
    known = rules()
    found = [one for path in paths if Path(path).is_file() for one in findings(path, Path(path).read_text(), known)]
    print("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
