"""What no telemetry file may hold, whoever wrote it: more rows than there can be, and texts that do harm elsewhere."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from bwpredict.errors import TelemetryError
from bwpredict.limits import ROWS_PER_FILE, TEXT_CHARACTERS

_CONTROL = r"[\x00-\x1f\x7f]"
_FORMULA = r"^[=+@-]."
_NUMBER = r"^[+-][0-9][0-9.eE]*$"


def check_rows(rows: int, name: str) -> None:
    """Raise a TelemetryError if the file called `name` has, or says it has, too many rows."""
    if rows > ROWS_PER_FILE:
        raise TelemetryError(
            f"{name}: has {rows:,} rows; expected {ROWS_PER_FILE:,} at most in one file: write one for each day."
        )


def check_texts(table: pa.Table, name: str) -> None:
    """Refuse control characters, formulas (a spreadsheet would run them) and texts without end.

    Raises:
        TelemetryError: names the file, the column and the value.
    """
    for column, values in zip(table.column_names, table.columns, strict=True):
        kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
        if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
            continue
        texts = pc.unique(values.cast(kind))
        formula = pc.and_not(pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER))
        for refused, what in (
            (pc.greater(pc.utf8_length(texts), TEXT_CHARACTERS), f"more than {TEXT_CHARACTERS} characters"),
            (pc.match_substring_regex(texts, _CONTROL), "control characters"),
            (formula, "a formula"),
        ):
            if pc.any(refused).as_py():
                value = texts.filter(refused)[0].as_py()
                raise TelemetryError(f"{name}: column {column!r} holds {what}: {value[:40]!r}; expected a plain name.")
