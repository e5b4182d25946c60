"""Copy rows of a window out of telemetry files into one sorted file a day, in bounded memory."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.files import sha256_of
from bwpredict.store.base import Store
from bwpredict.telemetry import columns, sources
from bwpredict.telemetry.days import DAY_SECONDS, DayBuckets, arrange

_WANTED: dict[str, pa.DataType] = {
    column.name: columns.TEXT if column.kind in ("category", "text") else column.arrow_type for column in schema.COLUMNS
}
# Columns whose values repeat: Parquet keeps each distinct value once.
_DICTIONARY_ENCODED = [
    column.name for column in schema.COLUMNS if column.kind != "number" and not column.name.startswith("bytes_")
]
logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """What a copy counts while it runs."""

    rows_of: Counter[str] = field(default_factory=Counter)
    late_of: Counter[int] = field(default_factory=Counter)
    misplaced_of: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)
    non_finite: Counter[str] = field(default_factory=Counter)
    renamed: dict[str, str] = field(default_factory=dict)
    links: set[tuple[int | None, int | None]] = field(default_factory=set)
    days: list[dict[str, Any]] = field(default_factory=list)


def copy_days(
    store: Store, objects: list[sources.TelemetryKey], window: tuple[datetime, datetime], folder: Path, scratch: Path
) -> Tally:
    """Write one file for each day. A day is written as soon as no later partition can hold rows of it."""
    tally, buckets, filesystem = Tally(), DayBuckets(scratch), store.arrow_filesystem()
    span = int(window[0].timestamp()), int(window[1].timestamp())
    for item, following in zip_longest(objects, objects[1:]):
        name = sources.location(store, item.key)
        file = sources.open_file(filesystem, item.key, name, schema.OLD_NAMES)
        tally.renamed |= {old: name for name, old in file.found.items() if old != name and name in _WANTED}
        for table in sources.read_tables(file, _WANTED, span):
            kept = _in_reach(table, item, tally)
            tally.rows_of[item.key] += kept.num_rows
            for day, rows in buckets.add(kept).items():
                tally.late_of[day] += rows if item.day and date_of(day) < item.day else 0
        for day in buckets.open_days():
            if following is None or (following.day and date_of(day) + timedelta(sources.LATE_DAYS) < following.day):
                _write_day(day, buckets.take(day), folder, tally)
    for key, rows in tally.misplaced_of.items():
        logger.warning("%s: left out %d rows whose day does not belong to this partition", key, rows)
    return tally


def _in_reach(table: pa.Table, item: sources.TelemetryKey, tally: Tally) -> pa.Table:
    """The rows that this partition may hold: those of its day, and late ones. The others are counted."""
    if item.day is None or table.num_rows == 0:
        return table
    first, last = ((day - date(1970, 1, 1)).days for day in (item.day - timedelta(sources.LATE_DAYS), item.day))
    days = table["timestamp"].to_numpy() // DAY_SECONDS
    inside = (days >= first) & (days <= last)
    if inside.all():
        return table
    tally.misplaced_of[item.key] += int((~inside).sum())
    return table.filter(pa.array(inside))


def _write_day(day: int, table: pa.Table, folder: Path, tally: Tally) -> None:
    arranged = arrange(table)
    rows = arranged.table.cast(columns.STORED_SCHEMA).combine_chunks()
    path = day_file(folder, date_of(day))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, compression="zstd", compression_level=1, use_dictionary=_DICTIONARY_ENCODED)
    tally.links |= arranged.links
    for name in rows.column_names:
        tally.nulls[name] += rows[name].null_count
        if pa.types.is_floating(rows[name].type):
            tally.non_finite[name] += pc.sum(pc.invert(pc.is_finite(rows[name]))).as_py() or 0
    tally.days.append(
        {
            "date": date_of(day).isoformat(),
            "rows": rows.num_rows,
            "links": len(arranged.links),
            "late_rows": tally.late_of[day],
            "duplicates_removed": arranged.duplicates,
            "conflicting_rows": arranged.conflicts,
            "sha256": sha256_of(path),
        }
    )
    logger.info("pulled %s: %d rows", date_of(day), rows.num_rows)


def day_file(folder: Path, day: date) -> Path:
    """Where a day's telemetry lies in a telemetry folder."""
    return folder / f"date={day.isoformat()}" / "part-0.parquet"


def date_of(day: int) -> date:
    """The date that is `day` days after 1970-01-01."""
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC).date()
