"""Refuse telemetry files with too many rows, or with texts that could do harm elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from bwpredict.core.limits import ROWS_PER_FILE, TEXT_CHARACTERS
from bwpredict.errors import TelemetryError

_CONTROL = r"[\x00-\x1f\x7f]"
_FORMULA = r"^[=+@-]."
_NUMBER = r"^[+-][0-9][0-9.eE]*$"
_SUSPICIOUS = rf"{_CONTROL}|{_FORMULA}"
"""A quick first test for texts to refuse: nearly all are plain names and do not match."""


def check_rows(rows: int, name: str) -> None:
    """Raise a TelemetryError if the file called `name` has, or says it has, too many rows."""
    if rows > ROWS_PER_FILE:
        raise TelemetryError(
            f"{name}: has {rows:,} rows; expected {ROWS_PER_FILE:,} at most in one file: write one for each day."
        )


@dataclass
class TextCheck:
    """Refuses control characters, formulas (which a spreadsheet would run) and excessive amounts of text in a file."""

    name: str
    """The file's name in messages."""
    _known: dict[str, pa.Array] = field(default_factory=dict)
    """Texts of each column that were checked already; every batch has the same few."""

    def __call__(self, table: pa.Table) -> None:
        """Raise a TelemetryError that names the file, the column and the value, if a text is refused."""
        for column, values in zip(table.column_names, table.columns, strict=True):
            kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
            if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
                continue
            texts = _texts(values)
            if column in self._known and pc.all(pc.is_in(texts, value_set=self._known[column])).as_py():
                continue
            if _refused(texts):
                # A dictionary may have entries that no row uses; those are harmless.
                texts = pc.unique(values.cast(kind))
            if refused := _refused(texts):
                what, value = refused
                raise TelemetryError(
                    f"{self.name}: column {column!r} holds {what}: {value[:40]!r}; expected a plain name."
                )
            self._known[column] = texts


def _texts(values: pa.ChunkedArray) -> pa.Array:
    """The distinct texts of the rows, and the unused entries of their dictionary."""
    if not pa.types.is_dictionary(values.type):
        return pc.unique(values)
    kind = values.type.value_type
    return pc.unique(pa.chunked_array([chunk.dictionary for chunk in values.chunks], kind))


def _refused(texts: pa.Array) -> tuple[str, str] | None:
    """The reason for which the first bad text is refused, and that text."""
    suspicious = pc.any(pc.match_substring_regex(texts, _SUSPICIOUS)).as_py()
    if not suspicious and (pc.max(pc.utf8_length(texts)).as_py() or 0) <= TEXT_CHARACTERS:
        return None
    formula = pc.and_not(pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER))
    for refused, what in (
        (pc.greater(pc.utf8_length(texts), TEXT_CHARACTERS), f"more than {TEXT_CHARACTERS} characters"),
        (pc.match_substring_regex(texts, _CONTROL), "control characters"),
        (formula, "a formula"),
    ):
        if pc.any(refused).as_py():
            return what, texts.filter(refused)[0].as_py()
    return None
