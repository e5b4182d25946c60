"""Turn a library's error about an unreadable file into a sentence that names the file and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from bwpredict.errors import SnapshotError, TelemetryError

_NOT_UTF_8 = "it is not UTF-8 text; save it as UTF-8, or say its `encoding` to `bwpredict import`"
_PLAINLY = {
    "Empty CSV": "it is empty; expected a line with the names of the columns, then a line for each row",
    "invalid UTF8": _NOT_UTF_8,
    "'utf-8' codec can't decode": _NOT_UTF_8,
    "magic bytes not found": "it is cut short, or no Parquet file at all; copy it again",
    "file size is 0 bytes": "it is empty; copy it again",
}
"""Part of a library's message: the message that replaces it, for errors that users often meet."""


@contextmanager
def translate_read_errors(name: str, form: str) -> Iterator[None]:
    """Turn an error while reading `name` as `form` (Parquet, CSV) into one sentence.

    Raises:
        TelemetryError: the file cannot be read.
        SnapshotError: the file has gone.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise SnapshotError(f"{name}: was deleted while it was being read; take the snapshot again.") from error
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise TelemetryError(f"{name}: cannot be read as {form}: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    said = str(error)
    for part, plainly in _PLAINLY.items():
        if part in said:
            return plainly
    return said.splitlines()[0].rstrip(".") if said else type(error).__name__
