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
    """The name that is `given`, else that of the user; root and users without a name are asked for one.

    Raises:
        ConfigError: the user has no name, and there is no terminal to ask at.
    """
    given = given.strip()
    name = given or user()
    if name in (UNKNOWN, "root") and not given and sys.stdin.isatty():
        name = str(typer.prompt("Your name, for the record")).strip()
    if name in (UNKNOWN, ""):
        raise ConfigError("the user at the command line has no name; give --by NAME.")
    return name
