"""The file of one day in a telemetry folder: its path, and how it is written in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.store.files import sha256_of
from bwpredict.telemetry import columns
from bwpredict.telemetry.days import DAY_SECONDS, sort_and_deduplicate

GROUP_ROWS = 1 << 18
"""Rows of a row group. The bytes of a file, and so a snapshot's digest, depend on it."""
# Columns whose values repeat: Parquet keeps each distinct value once.
_DICTIONARY_ENCODED = [
    column.name for column in schema.COLUMNS if column.kind != "number" and not column.name.startswith("bytes_")
]


@dataclass
class WrittenDay:
    """Statistics of a day that was written."""

    day: date
    rows: int = 0
    links: set[tuple[int | None, int | None]] = field(default_factory=set)
    duplicates: int = 0
    """Rows that repeated another in every column, left out."""
    conflicts: int = 0
    """Rows that share link and timestamp with another but differ from it, kept."""
    nulls: Counter[str] = field(default_factory=Counter)
    non_finite: Counter[str] = field(default_factory=Counter)
    sha256: str = ""


def day_file(folder: Path, day: date) -> Path:
    """The path of a day's file in a telemetry folder."""
    return folder / f"date={day.isoformat()}" / "part-0.parquet"


def partition_date(day: int) -> date:
    """The date that is `day` days after 1970-01-01."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date()


def write_day(day: date, parts: Iterator[pa.Table], folder: Path, absent: Collection[str] = ()) -> WrittenDay:
    """Write a day's rows, which come in parts of whole links in order, each sorted by `sort_and_deduplicate`.

    `absent` are columns that the rows, and then the file, lack.
    """
    written, path, stored = WrittenDay(day), day_file(folder, day), columns.stored_schema(absent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(
        path,
        stored,
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in _DICTIONARY_ENCODED if name not in absent],
    ) as writer:
        for group in _groups(_arranged(parts, written), stored):
            _count(group, written)
            writer.write_table(group, row_group_size=GROUP_ROWS)
    written.sha256 = sha256_of(path)
    return written


def _arranged(parts: Iterator[pa.Table], written: WrittenDay) -> Iterator[pa.Table]:
    for part in parts:
        arranged = sort_and_deduplicate(part)
        written.links |= arranged.links
        written.duplicates += arranged.duplicates
        written.conflicts += arranged.conflicts
        yield arranged.table


def _groups(tables: Iterator[pa.Table], stored: pa.Schema) -> Iterator[pa.Table]:
    """The rows in their stored types, `GROUP_ROWS` at a time, so that a file's bytes do not depend on its parts."""
    held: list[pa.Table] = []
    for table in tables:
        held = [*held, table.select(stored.names)]
        while sum(each.num_rows for each in held) >= GROUP_ROWS:
            joined = pa.concat_tables(held)
            yield _one_piece(joined.slice(0, GROUP_ROWS), stored)
            held = [joined.slice(GROUP_ROWS)]
    if rest := [each for each in held if each.num_rows]:
        yield _one_piece(pa.concat_tables(rest), stored)


def _one_piece(rows: pa.Table, stored: pa.Schema) -> pa.Table:
    """The rows in one chunk and in their stored types; text becomes text last, since its numbers are copied faster."""
    return rows.unify_dictionaries().combine_chunks().cast(stored)


def _count(rows: pa.Table, written: WrittenDay) -> None:
    written.rows += rows.num_rows
    for name in rows.column_names:
        written.nulls[name] += rows[name].null_count
        if pa.types.is_floating(rows[name].type):
            written.non_finite[name] += pc.sum(pc.invert(pc.is_finite(rows[name]))).as_py() or 0
