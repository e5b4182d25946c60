"""YAML files that say which of a source's names are which columns of the schema."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml

from bwpredict import schema
from bwpredict.config import Model, load
from bwpredict.errors import ConfigError

_DERIVED = ("timestamp", "time_of_day", "day_of_week")


def read_mapping(path: Path, model: type[Model]) -> Model:
    """The mapping in the file. Raises ConfigError: a sentence with the file and the key."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise ConfigError(f"{path}: cannot be read as a YAML mapping of telemetry: {why}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a mapping of telemetry is a mapping of names to values.")
    return load(model, values, origin=str(path))


def check_mapped(mapped: Iterable[str], origin: str) -> None:
    """Every column of the schema must come from somewhere, once; the calendar's follow from the time.

    Raises:
        ConfigError: names the columns that are missing, unknown or mapped twice.
    """
    names = list(mapped)
    unknown = sorted(set(names) - set(schema.COLUMN_NAMES))
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in schema.COLUMN_NAMES if name not in {*names, *_DERIVED}]
    if unknown:
        known = ", ".join(schema.COLUMN_NAMES)
        raise ConfigError(f"{origin}: {', '.join(unknown)}: no such column of telemetry; there are {known}.")
    if twice:
        raise ConfigError(f"{origin}: {', '.join(twice)}: mapped twice; keep one of them.")
    if missing:
        raise ConfigError(f"{origin}: says nothing of {', '.join(missing)}; map each, or give a constant.")
