"""Copy the rows of a time window into one sorted file for each day, in bounded memory."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from bwpredict import schema
from bwpredict.core.progress_bar import track
from bwpredict.store.base import Store
from bwpredict.telemetry import columns, sources
from bwpredict.telemetry.day_files import WrittenDay, partition_date, write_day
from bwpredict.telemetry.days import DAY_SECONDS, DayBuckets

COLUMNS_READ: dict[str, pa.DataType] = {
    column.name: columns.TEXT if column.kind in ("category", "text") else column.arrow_type for column in schema.COLUMNS
}
"""The columns to copy, with their types in memory."""
DAYS_WRITTEN = 2
"""Days that are written at a time: compression takes longer than reading."""
PREFETCH_FILES = 3
Tables = Iterator[pa.Table]
logger = logging.getLogger(__name__)


@dataclass
class CopyStatistics:
    """Counters of a copy."""

    rows_of: Counter[str] = field(default_factory=Counter)
    late_of: Counter[int] = field(default_factory=Counter)
    misplaced_of: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)
    non_finite: Counter[str] = field(default_factory=Counter)
    renamed: dict[str, str] = field(default_factory=dict)
    links: set[tuple[int | None, int | None]] = field(default_factory=set)
    days: list[dict[str, Any]] = field(default_factory=list)

    def add(self, written: WrittenDay) -> None:
        """Count a day that was written."""
        self.links |= written.links
        self.nulls += written.nulls
        self.non_finite += written.non_finite
        self.days.append(
            {
                "date": written.day.isoformat(),
                "rows": written.rows,
                "links": len(written.links),
                "late_rows": self.late_of[(written.day - date(1970, 1, 1)).days],
                "duplicates_removed": written.duplicates,
                "conflicting_rows": written.conflicts,
                "sha256": written.sha256,
            }
        )
        logger.debug("copied %s: %d rows", written.day, written.rows)


def copy_days(
    store: Store,
    objects: list[sources.TelemetryKey],
    window: tuple[datetime, datetime],
    folder: Path,
    scratch: Path,
    absent: Collection[str] = (),
) -> CopyStatistics:
    """Write one file for each day. A day is written as soon as no later partition can hold rows of it.

    `absent` are columns that the files need not have; the files that are written lack them.

    Up to `DAYS_WRITTEN` days are written while the next is read. Memory holds the rows of `DayBuckets` and of these
    days, in part in scratch files, however many rows a day has.
    """
    tally, buckets = CopyStatistics(), DayBuckets(scratch)
    span = int(window[0].timestamp()), int(window[1].timestamp())
    wanted = {name: kind for name, kind in COLUMNS_READ.items() if name not in absent}
    read = prefetch_tables(_opened(store, objects, wanted), wanted, span)
    written: deque[Future[WrittenDay]] = deque()
    with ThreadPoolExecutor(DAYS_WRITTEN) as writer:
        pairs = zip(read, objects, [*objects[1:], None], strict=False)
        for (file, tables), item, following in track(pairs, "Reading telemetry", "files", len(objects)):
            tally.renamed |= {old: name for name, old in file.found.items() if old != name and name in wanted}
            for table in tables:
                kept = _in_reach(table, item, tally)
                tally.rows_of[item.key] += kept.num_rows
                for day, rows in buckets.add(kept).items():
                    tally.late_of[day] += rows if item.day and partition_date(day) < item.day else 0
            for day in buckets.open_days():
                if following is None or (
                    following.day and partition_date(day) + timedelta(sources.LATE_DAYS) < following.day
                ):
                    if len(written) == DAYS_WRITTEN:
                        tally.add(written.popleft().result())
                    written.append(writer.submit(write_day, partition_date(day), buckets.take(day), folder, absent))
        for each in written:
            tally.add(each.result())
    for key, rows in tally.misplaced_of.items():
        logger.warning("%s: left out %d rows whose day does not belong to this partition", key, rows)
    return tally


def _opened(
    store: Store, objects: list[sources.TelemetryKey], wanted: Collection[str]
) -> Iterator[sources.TelemetryFile]:
    filesystem = store.arrow_filesystem()
    for item in objects:
        file = sources.open_file(filesystem, item.key, sources.display_uri(store, item.key), schema.OLD_NAMES)
        columns.require_columns(file.found, wanted, file.name)
        yield file


def _in_reach(table: pa.Table, item: sources.TelemetryKey, tally: CopyStatistics) -> pa.Table:
    """The rows that belong to this partition: those of its day, and late ones. The others are dropped and counted."""
    if item.day is None or table.num_rows == 0:
        return table
    first, last = ((day - date(1970, 1, 1)).days for day in (item.day - timedelta(sources.LATE_DAYS), item.day))
    days = table["timestamp"].to_numpy() // DAY_SECONDS
    inside = (days >= first) & (days <= last)
    if inside.all():
        return table
    tally.misplaced_of[item.key] += int((~inside).sum())
    return table.filter(pa.array(inside))


def prefetch_tables(
    files: Iterable[sources.TelemetryFile], wanted: Mapping[str, pa.DataType], span: tuple[int, int] | None = None
) -> Iterator[tuple[sources.TelemetryFile, Tables]]:
    """Each file with its tables, as `read_tables` gives them; a file's errors are raised where its tables are used.

    Arrow reads the first block of a CSV on one core, so `PREFETCH_FILES` are under way at a time. Beside what Arrow
    reads ahead, one table of each is in memory.
    """
    coming: deque[tuple[sources.TelemetryFile, Tables, Future[pa.Table | None]]] = deque()
    with ThreadPoolExecutor(PREFETCH_FILES) as pool:
        for file in files:
            tables = sources.read_tables(file, wanted, span)
            coming.append((file, tables, pool.submit(next, tables, None)))
            if len(coming) == PREFETCH_FILES:
                now = coming.popleft()
                yield now[0], _ahead(*now[1:], pool)
        for now in coming:
            yield now[0], _ahead(*now[1:], pool)


def _ahead(tables: Tables, first: Future[pa.Table | None], pool: ThreadPoolExecutor) -> Tables:
    """The tables; the next one is read while one is in use."""
    table = first.result()
    while table is not None:
        following = pool.submit(next, tables, None)
        yield table
        table = following.result()
