"""Map a file's column names and types to the schema's; errors name the value that cannot be cast."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from bwpredict import schema
from bwpredict.errors import TelemetryError

STORED_SCHEMA = pa.schema([(column.name, column.arrow_type) for column in schema.COLUMNS])
"""The columns and types of every telemetry file of a snapshot."""


def stored_schema(absent: Collection[str]) -> pa.Schema:
    """`STORED_SCHEMA` without the columns that the telemetry lacks."""
    return pa.schema([each for each in STORED_SCHEMA if each.name not in absent])


TEXT = pa.dictionary(pa.int32(), pa.string())
"""Text in memory: dictionary-encoded, since there are few distinct values."""


def resolve_columns(physical: Iterable[str], names: Mapping[str, str], origin: str) -> dict[str, str]:
    """{schema name: name in the file} of the known columns; `names` maps aliases to schema names.

    Raises:
        TelemetryError: two columns of the file mean the same.
    """
    found: dict[str, str] = {}
    for column in physical:
        name = names.get(column, column)
        if name in found:
            raise TelemetryError(
                f"{origin}: columns {found[name]!r} and {column!r} both mean {name}; keep only one of them."
            )
        found[name] = column
    return found


def require_columns(found: Mapping[str, str], wanted: Iterable[str], origin: str) -> None:
    """Raise a TelemetryError that names the file, the columns it lacks, and likely misspellings."""
    missing = [name for name in wanted if name not in found]
    if not missing:
        return
    unknown = [column for name, column in found.items() if name not in schema.COLUMN]
    hints = [
        f"{close[0]!r} for {name!r}" for name in missing if (close := difflib.get_close_matches(name, unknown, 1, 0.75))
    ]
    meant = f" (did the file mean {', '.join(hints)}?)" if hints else ""
    if len(found) == 1 and any(mark in next(iter(found)) for mark in ";\t|"):
        meant = " (are its columns separated by something else than commas?)"
    told = f"{origin}: lacks the {_columns(missing)}{meant}."
    raise TelemetryError(f"{told} If its columns have other names, describe them with `bwpredict import --mapping`.")


def cast_column(
    values: pa.ChunkedArray, to: pa.DataType, column: str, origin: str, first_line: int | None, decimal: str = "."
) -> pa.ChunkedArray:
    """The values as type `to`, or an error about the first value that is none.

    `first_line` is the line in the file of the first value, None where lines mean nothing (Parquet); `decimal` is the
    decimal sign of numbers that are text.

    Raises:
        TelemetryError: names the file, the column, the value and, in text files, its line.
    """
    if values.type == to:
        return values
    try:
        return _cast(values, to, decimal)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if pa.types.is_nested(values.type) or isinstance(error, pa.ArrowNotImplementedError):
            raise TelemetryError(
                f"{origin}: column {column!r} is of type {values.type}; expected {_words(to)}."
            ) from error
        at = _first_refused(values, to, decimal)
        line = "" if first_line is None else f" in line {first_line + at}"
        raise TelemetryError(
            f"{origin}: column {column!r} holds {values[at].as_py()!r}{line}; expected {_words(to)}."
        ) from error


def _cast(values: pa.ChunkedArray, to: pa.DataType, decimal: str) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_dictionary(to):
        return values.cast(to.value_type).dictionary_encode()
    if pa.types.is_temporal(values.type) and not pa.types.is_string(to):
        # Unix seconds; Arrow has already applied the time zone, if there is one.
        values = values.cast(pa.timestamp("s", getattr(values.type, "tz", None))).cast(pa.int64())
    if not _is_text(values.type) or _is_text(to):
        return values.cast(to)
    values = pc.utf8_trim_whitespace(values)
    if decimal != ".":
        # With a decimal comma, a point is not part of a number and must not be read as one.
        values = pc.replace_substring(pc.replace_substring(values, ".", "?"), decimal, ".")
    if pa.types.is_integer(to):
        try:
            return values.cast(to)
        except pa.ArrowInvalid:
            # Many tools write integers with gaps as "12.0".
            return values.cast(pa.float64()).cast(to)
    return values.cast(to)


def _first_refused(values: pa.ChunkedArray, to: pa.DataType, decimal: str) -> int:
    """Position of the first value that does not cast, by halving."""
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            _cast(values.slice(good, middle - good), to, decimal)
            good = middle
        except pa.ArrowInvalid:
            bad = middle
    return good


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _words(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "a whole number"
    return "a number" if pa.types.is_floating(kind) else "text"


def _columns(names: list[str]) -> str:
    quoted = ", ".join(repr(name) for name in names)
    return f"column {quoted}" if len(names) == 1 else f"columns {quoted}"
