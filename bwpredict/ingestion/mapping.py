"""Check a mapping of a source's names to the columns of the schema."""

from __future__ import annotations

from collections.abc import Iterable

from bwpredict import schema
from bwpredict.datasets.file_mapping import DERIVED
from bwpredict.errors import ConfigError


def check_mapped(mapped: Iterable[str], origin: str) -> None:
    """Require that each column of the schema is mapped once; the calendar columns follow from the time.

    Raises:
        ConfigError: names the columns that are missing, unknown or mapped twice.
    """
    names = list(mapped)
    unknown = sorted(set(names) - set(schema.COLUMN_NAMES))
    twice = sorted({name for name in names if names.count(name) > 1})
    missing = [name for name in schema.COLUMN_NAMES if name not in {*names, *DERIVED}]
    if unknown:
        known = ", ".join(schema.COLUMN_NAMES)
        raise ConfigError(f"{origin}: {', '.join(unknown)}: unknown column of telemetry; expected one of {known}.")
    if twice:
        raise ConfigError(f"{origin}: {', '.join(twice)}: mapped twice; keep one of them.")
    if missing:
        raise ConfigError(f"{origin}: does not map {', '.join(missing)}; map each, or give a constant.")
