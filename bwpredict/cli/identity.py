"""Who is at the command line."""

from __future__ import annotations

import getpass


def user() -> str:
    """Name of the person at the command line, for the history."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"
