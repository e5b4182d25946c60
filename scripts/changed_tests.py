"""Print the tests of what changed since main: a package's folder of tests, or the test file itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FOLDERS = {
    "plugins": ("plugin", "dags"),
    "dags": ("dags",),
    "scripts": ("setup",),
    "docs": ("docs",),
    "monitoring": ("exporter",),
    "benchmarks": ("benchmarks",),
    "deploy": ("kubernetes",),
}
_TESTED_ELSEWHERE = {
    "config": ("gate", "pipeline"),
    "documents": ("pipeline",),
    "errors": ("cli",),
    "profiling": ("validation",),
    "provenance": ("serving",),
    "registry_views": ("registry",),
    "schema": ("datasets", "gate"),
}
"""Modules and packages without a folder of tests of the same name."""


def changed_files(base: str) -> set[str]:
    """Paths that differ from the merge base with `base`, uncommitted and untracked ones too."""
    merge_base = _git("merge-base", "HEAD", base) or _git("rev-parse", "HEAD")
    return set(_git("diff", "--name-only", merge_base[0]) + _git("ls-files", "--others", "--exclude-standard"))


def tests_of(path: str) -> Iterator[str]:
    """The test folders or files, relative to the repository, that cover the file at `path`."""
    top, *rest = Path(path).parts
    if top == "tests":
        if Path(path).name.startswith("test_"):
            yield path
    elif top == "bwpredict" and rest:
        package = Path(rest[0]).stem
        yield from (f"tests/{folder}" for folder in _TESTED_ELSEWHERE.get(package, (package,)))
    else:
        yield from (f"tests/{folder}" for folder in _FOLDERS.get(top, ()))


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607
    return done.stdout.split()


if __name__ == "__main__":
    found = {test for path in changed_files(sys.argv[1] if sys.argv[1:] else "main") for test in tests_of(path)}
    print("\n".join(sorted(test for test in found if (ROOT / test).exists())))
