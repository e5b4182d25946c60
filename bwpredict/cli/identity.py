"""Who is at the command line."""

from __future__ import annotations

import getpass
import sys

import typer

from bwpredict.errors import ConfigError

UNKNOWN = "unknown"


def user() -> str:
    """Name of the person at the command line, for the history."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return UNKNOWN


def person(given: str) -> str:
    """As `user`; where that is nobody, or root, which may be anybody, the name that is `given` or typed.

    Raises:
        ConfigError: the name is not known, and nobody is there to be asked.
    """
    given = given.strip()
    name = given or user()
    if name in (UNKNOWN, "root") and not given and sys.stdin.isatty():
        name = str(typer.prompt("Your name, for the record")).strip()
    if name in (UNKNOWN, ""):
        raise ConfigError("the user at the command line has no name; give --by NAME.")
    return name
