"""Write days to the store: one object for each, written once, so that a day is complete or absent."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.core.parts import ascending
from bwpredict.core.progress_bar import track
from bwpredict.errors import ConfigError, ObjectMissingError, TelemetryError
from bwpredict.store.base import Store
from bwpredict.telemetry.columns import STORED_SCHEMA
from bwpredict.telemetry.day_files import day_file
from bwpredict.telemetry.days import DAY_SECONDS

logger = logging.getLogger(__name__)

_ORDER = [("node_id", "ascending"), ("peer_id", "ascending"), ("timestamp", "ascending")]

ReadDay = Callable[[int, int], pa.Table]
"""The rows of [first, past the last) unix seconds, under schema names; what is missing is null."""


@dataclass
class IngestResult:
    """The days by outcome."""

    written: list[date] = field(default_factory=list)
    updated: list[date] = field(default_factory=list)
    """Days that were read again and rewritten with rows that had arrived late."""
    there_already: list[date] = field(default_factory=list)
    empty: list[date] = field(default_factory=list)


def days_between(start: date, end: date, now: datetime) -> list[date]:
    """The UTC days from `start` to `end`, both included.

    Raises:
        ConfigError: the end comes before the start, or a day is not over yet.
    """
    if end < start:
        raise ConfigError(f"--end {end} comes before --start {start}.")
    if datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1) > now:
        raise ConfigError(f"{end}: is not over yet (UTC); a day is collected once, so end with an earlier day.")
    return [start + timedelta(days=number) for number in range((end - start).days + 1)]


def ingest_days(store: Store, days: list[date], read_day: ReadDay, *, late_days: int = 0) -> IngestResult:
    """Write each day that is not in the store yet as `date=<day>/part-0.parquet`; days without a row are left out.

    Days in the store are neither read nor changed, so an interrupted collection can be run again.
    The exception are the `late_days` before the first day, which are read again for late rows.

    Raises:
        TelemetryError: a day's rows do not fit the schema; days before it stay.
        ConflictError: another process changes the same day.
        StoreError: as the store.
    """
    landed = IngestResult()
    late = {days[0] - timedelta(days=number) for number in range(1, late_days + 1)}
    wanted = sorted(late | set(days))
    for day in track(wanted, "Collecting", "days", len(wanted)):
        there = any(store.keys(f"{Path(day_key(day)).parent.as_posix()}/"))
        if there and day not in late:
            landed.there_already.append(day)
            continue
        first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
        table = _arranged(read_day(first, first + DAY_SECONDS), day)
        if there:
            (landed.updated if _update(store, day, table) else landed.there_already).append(day)
        elif table.num_rows == 0:
            logger.warning("%s: the source holds no row of this day; nothing is written.", day)
            landed.empty.append(day)
        else:
            _upload(store, day_key(day), table)
            landed.written.append(day)
            logger.info("%s: %s rows", day, f"{table.num_rows:,}")
    return landed


def _update(store: Store, day: date, table: pa.Table) -> bool:
    """Replace the day if `table` has all of its rows and more; False if it stays unchanged."""
    try:
        content, etag = store.read(day_key(day))
    except ObjectMissingError:  # another program wrote the partition under another file name
        return False
    before = pq.read_table(pa.BufferReader(content), columns=[name for name, _ in _ORDER])
    lost = before.join(table.select(before.column_names), before.column_names, join_type="left anti").num_rows
    if lost:
        logger.warning(
            "%s: the source no longer holds %s rows of this day; the store's copy is kept.", day, f"{lost:,}"
        )
    added = table.num_rows - before.num_rows
    if lost or not added:
        return False
    sink = pa.BufferOutputStream()
    _write_parquet(table, sink)
    store.write(day_key(day), bytes(sink.getvalue()), if_etag=etag)
    logger.info("%s: %s rows arrived late", day, f"{added:,}")
    return True


def day_key(day: date) -> str:
    """The key of a day in the store."""
    return day_file(Path(), day).as_posix()


def add_day(store: Store, day: date, table: pa.Table) -> None:
    """Write a day's rows, of all columns of the schema or a part; the same rows may be there already.

    Raises:
        ConflictError: the day is there with other rows.
        TelemetryError: the rows do not fit the schema.
    """
    _upload(store, day_key(day), _arranged(table, day))


def stored_numbers(name: str, values: npt.NDArray[np.float64]) -> pa.Array:
    """A column's values as the schema's type: whole numbers are rounded; a missing value (NaN) is null."""
    if schema.COLUMN[name].kind == "integer":
        missing = ~np.isfinite(values)
        return pa.array(np.where(missing, 0, np.rint(values)).astype(np.int64), mask=missing)
    return pa.array(values, from_pandas=True)


def with_constants(table: pa.Table, constants: dict[str, str | float]) -> pa.Table:
    """The table with a column for each constant."""
    for name, value in constants.items():
        kind = schema.COLUMN[name].arrow_type
        table = table.append_column(name, pa.array([value] * table.num_rows, kind))
    return table


def _arranged(table: pa.Table, day: date) -> pa.Table:
    """Cast and sort the table as it is stored, add the calendar columns, and require unique rows."""
    seconds = table["timestamp"].to_numpy().astype(np.int64)
    calendar = {"time_of_day": schema.CALENDAR.hours(seconds), "day_of_week": schema.CALENDAR.days(seconds)}
    for name, values in calendar.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array(values))
    try:
        stored = pa.schema([field for field in STORED_SCHEMA if field.name in table.column_names])
        table = table.select(stored.names).cast(stored).sort_by(_ORDER)
    except pa.ArrowInvalid as error:
        raise TelemetryError(
            f"{day}: the source's values do not fit the schema: {str(error).splitlines()[0]}."
        ) from error
    for name in ("timestamp", *schema.LINK_KEY):
        if table[name].null_count:
            raise TelemetryError(f"{day}: {name} is empty in {table[name].null_count} rows; every row needs one.")
    if not ascending([table[name].to_numpy() for name, _ in _ORDER], strictly=True):
        raise TelemetryError(f"{day}: the source has two rows of one link and timestamp; keep one of them.")
    return table


def _upload(store: Store, key: str, table: pa.Table) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-0.parquet"
        _write_parquet(table, path)
        store.upload(path, key)


def _write_parquet(table: pa.Table, where: Path | pa.NativeFile) -> None:
    pq.write_table(table, where, compression="zstd", compression_level=1)
