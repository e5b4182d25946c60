"""Which code made a model: recorded with each run, from inside the run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bwpredict import __version__

CODE = ("bwpredict", "dags", "plugins", "requirements.txt")
"""What a model follows from; telemetry and results of one's own may be beside it."""
_CHECKOUT = Path(__file__).resolve().parents[2]


def code_version(checkout: Path = _CHECKOUT) -> str:
    """`BWPREDICT_CODE_VERSION` if set (an image has no checkout), else the Git commit, else the package's version.

    A commit with changes of `CODE` on top of it, or new files there, ends in `-dirty`.
    """
    if named := os.environ.get("BWPREDICT_CODE_VERSION"):
        return named
    try:
        commit = _git("rev-parse", "HEAD", folder=checkout)
        return f"{commit}-dirty" if _git("status", "--porcelain", "--", *CODE, folder=checkout) else commit
    except (OSError, subprocess.SubprocessError):
        return __version__


def _git(*arguments: str, folder: Path) -> str:
    if not (folder / ".git").exists():
        raise FileNotFoundError(folder / ".git")
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603
