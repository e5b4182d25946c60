"""The days of a telemetry folder, as data frames with the columns that checks are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.core.parts import ascending, whole_links
from bwpredict.errors import TelemetryError
from bwpredict.telemetry.description import Description

ROWS_PER_BATCH = 1_500_000
"""Days are put together up to this many rows, and a day of more is taken in parts of whole links."""

SECONDS_OFF_CADENCE = "seconds_off_cadence"
"""How far the step from the link's previous sample of the day is from a whole number of cadences (at least one).

0 for a link's first sample, and for a sample at the same second as the one before: that is a duplicate, not a step."""
TIME_OF_DAY_OFFSET = "time_of_day_offset"
DAY_OF_WEEK_OFFSET = "day_of_week_offset"
"""By how much the column is ahead of what `timestamp` says under the calendar, modulo 24 and 7; 0 agrees."""
BYTES_RATIO = "bytes_tx_over_throughput"
"""Rate that `bytes_tx` implies, divided by `throughput_mbps`; IDLE_MBPS is added to both, so idle minutes agree."""
IDLE_MBPS = 0.01

_TEXTS = [column.name for column in schema.COLUMNS if column.kind in ("category", "text")]
"""Columns of few distinct values, which Parquet keeps as numbers of them: several times faster to read as such."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Consecutive days of telemetry, or links of a day, and their name ("2026-10-01 to 2026-10-31").

    `frame` is a pandas DataFrame, or one of Spark.
    """

    name: str
    frame: Any


def partitions(telemetry: Path) -> list[tuple[str, Path]]:
    """(day as YYYY-MM-DD, folder) of each `date=` partition, in order of time."""
    return sorted((path.name.removeprefix("date="), path) for path in telemetry.glob("date=*") if path.is_dir())


def read_day(folder: Path) -> pd.DataFrame:
    """All rows of one partition. Text is kept as categories; whole numbers with nulls stay whole.

    Raises:
        TelemetryError: a file cannot be read as Parquet.
    """
    frames = [_read(path) for path in sorted(folder.glob("*.parquet"))]
    return _together(frames) if frames else _empty_frame()


def parts_of_day(folder: Path, rows: int = ROWS_PER_BATCH) -> Iterator[pd.DataFrame]:
    """The rows of one partition, as `read_day` gives them, in parts of at most `rows` rows but of whole links.

    A day whose rows are not sorted by link, or in several files, is one part. Memory follows the part.

    Raises:
        TelemetryError: a file cannot be read as Parquet.
    """
    paths = sorted(folder.glob("*.parquet"))
    if len(paths) != 1 or _rows_in(folder) <= rows:
        yield read_day(folder)
        return
    begins = _link_begins(paths[0])
    for first, past in whole_links(begins, rows):
        yield _to_pandas(_opened(_rows_between, paths[0], first=int(begins[first]), past=int(begins[past])))


def batches(
    telemetry: Path,
    days: Sequence[str] | None = None,
    *,
    rows: int = ROWS_PER_BATCH,
    read: Callable[[Path, int], Iterable[pd.DataFrame]] = parts_of_day,
    description: Description | None = None,
) -> Iterator[Batch]:
    """The days (all that are there) with the derived columns, in batches of at most `rows` rows, as far as links allow.

    `read` gives the rows of a day's folder in parts, nothing to leave the day out. `description` tells cadence and
    calendar, which derived columns depend on.
    """
    derived = partial(_with_derived_columns, description=description or Description())
    days = [day for day, _ in partitions(telemetry)] if days is None else days
    for group in group_batches(telemetry, days, rows=rows):
        if len(group) == 1:
            for number, part in enumerate(read(telemetry / f"date={group[0]}", rows), 1):
                yield Batch(group[0] if number == 1 else f"{group[0]}, part {number}", derived(part))
            continue
        found = [(day, derived(part)) for day in group for part in read(telemetry / f"date={day}", rows)]
        # A column that only some of the days lack is missing there, and not empty.
        for _, alike in groupby(found, lambda each: sorted(each[1].columns)):
            together = list(alike)
            first, last = together[0][0], together[-1][0]
            name = first if first == last else f"{first} to {last}"
            yield Batch(name, _together([part for _, part in together]))
    if not days:
        yield Batch("no days", derived(_empty_frame()))


def group_batches(telemetry: Path, days: Sequence[str], *, rows: int = ROWS_PER_BATCH) -> list[list[str]]:
    """The days in the groups that make up one batch each: as many as have at most this many rows, but at least one."""
    groups: list[list[str]] = []
    room = 0
    for day in days:
        there = _rows_in(telemetry / f"date={day}")
        if not groups or there > room:
            groups.append([])
            room = rows
        groups[-1].append(day)
        room -= there
    return groups


def _empty_frame() -> pd.DataFrame:
    return _to_pandas(pa.schema([(column.name, column.arrow_type) for column in schema.COLUMNS]).empty_table())


def _rows_in(folder: Path) -> int:
    """Rows of a day; 0 where the file does not say: reading the day reports why."""
    try:
        return sum(_opened(pq.read_metadata, path).num_rows for path in folder.glob("*.parquet"))
    except TelemetryError:
        return 0


def _link_begins(path: Path) -> Integers:
    """The row at which each link begins, and the end; [0, end] where the rows are not sorted by link."""
    keys = _opened(pq.read_table, path, partitioning=None, columns=list(schema.LINK_KEY))
    whole = np.array([0, keys.num_rows])
    if [field.type for field in keys.schema] != [pa.int64(), pa.int64()]:
        return whole
    changes = [np.diff(column.to_numpy()) != 0 for column in keys.columns]
    begins = np.flatnonzero(np.concatenate(([True], np.logical_or(*changes))))
    links = keys.group_by(list(schema.LINK_KEY)).aggregate([]).num_rows
    return np.append(begins, keys.num_rows) if len(begins) == links else whole


def _rows_between(path: Path, first: int, past: int) -> pa.Table:
    """Rows [first, past) of a file; only the row groups that hold them are read."""
    with pq.ParquetFile(path, read_dictionary=_TEXTS) as file:
        sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        ends = np.cumsum(sizes)
        groups = np.flatnonzero((ends > first) & (ends - sizes < past)).tolist()
        table = file.read_row_groups(groups)
    return table.slice(first - int((ends - sizes)[groups[0]]), past - first)


def _read(path: Path) -> pd.DataFrame:
    # partitioning=None: the folder's name is not a column of the file.
    return _to_pandas(_opened(pq.read_table, path, partitioning=None, read_dictionary=_TEXTS))


def _opened(read: Any, path: Path, **options: Any) -> Any:
    try:
        return read(path, **options)
    except (pa.ArrowException, OSError) as error:
        raise TelemetryError(f"{path}: cannot be read as Parquet ({error}); take the snapshot again.") from error


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    table = table.unify_dictionaries()
    return pd.DataFrame({name: _column(table[name]) for name in table.column_names}, copy=False)


def _column(values: pa.ChunkedArray) -> pd.Series[Any]:
    if pa.types.is_dictionary(values.type) and not pa.types.is_string(values.type.value_type):
        values = values.cast(values.type.value_type)
    if pa.types.is_integer(values.type) and values.null_count:
        return values.to_pandas(types_mapper=lambda _: pd.Int64Dtype())  # type: ignore[no-any-return]
    return values.to_pandas()  # type: ignore[no-any-return]


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all parts, which are emptied on the way: one column at a time is held twice."""
    names = [str(name) for name in dict.fromkeys(name for part in parts for name in part)]
    if len(parts) == 1 or any(list(part) != names for part in parts):
        return parts[0] if len(parts) == 1 else pd.concat([_as_text(part) for part in parts], ignore_index=True)
    return pd.DataFrame({name: _joined([part.pop(name) for part in parts]) for name in names}, copy=False)


def _joined(columns: list[pd.Series[Any]]) -> pd.Series[Any]:
    if all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        return pd.Series(pd.api.types.union_categoricals(columns))
    joined: pd.Series[Any] = pd.concat([_as_text(column) for column in columns], ignore_index=True)
    return joined


def _as_text(values: Any) -> Any:
    """A frame or a column with text instead of categories."""
    frame = pd.DataFrame(values)
    texts = {
        name: kind.categories.dtype for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)
    }
    return values.astype(texts) if texts else values


def _with_derived_columns(frame: pd.DataFrame, description: Description) -> pd.DataFrame:
    """The frame with each derived column whose sources are there as numbers; NaN where a source is null."""
    needed = {source for sources, _ in DERIVED.values() for source in sources}
    numbers = {
        source: frame[source].to_numpy("float64", na_value=np.nan)
        for source in needed
        if source in frame and pd.api.types.is_numeric_dtype(frame[source])
    }
    return frame.assign(
        **{
            name: derive(description, *(numbers[source] for source in sources))
            for name, (sources, derive) in DERIVED.items()
            if numbers.keys() >= set(sources)
        }
    )


def _seconds_off_cadence(description: Description, node: Floats, peer: Floats, timestamps_s: Floats) -> Floats:
    columns = node, peer, timestamps_s
    if not ascending(columns):
        order = np.lexsort(columns[::-1])
        off = np.empty_like(timestamps_s)
        off[order] = _steps_off(description, *(column[order] for column in columns))
        return off
    return _steps_off(description, *columns)


def _steps_off(description: Description, node: Floats, peer: Floats, timestamps_s: Floats) -> Floats:
    """As `SECONDS_OFF_CADENCE`, of rows in order of link and time."""
    step = np.diff(timestamps_s, prepend=np.nan)
    for key in (node, peer):
        step[np.diff(key, prepend=np.nan) != 0] = description.cadence_seconds
    step[step == 0] = description.cadence_seconds
    cadences = np.maximum(1, np.round(step / description.cadence_seconds))
    off: Floats = np.abs(step - cadences * description.cadence_seconds)
    return off


def _calendar_offset(
    count: Any, period: int, description: Description, node: Floats, peer: Floats, time: Floats, column: Floats
) -> Floats:
    ahead = column - _agreed(description.calendar, count, node, peer, time)
    other = ahead != 0  # Nearly all are 0, and division is slow.
    ahead[other] %= period
    return ahead


def _agreed(calendar: schema.Calendar, count: Any, node: Floats, peer: Floats, time: Floats) -> Floats:
    """[rows], the hour or day that the calendar gives; NaN where the time is not known."""
    known = np.isfinite(time)
    seconds = np.where(known, time, 0).astype(np.int64)
    agreed = count(calendar, seconds).astype(np.float64)
    for link in calendar.link_zones:
        rows = (node == link[0]) & (peer == link[1])
        agreed[rows] = count(calendar.of_link(link), seconds[rows])
    return np.where(known, agreed, np.nan)


def _bytes_ratio(description: Description, sent_bytes: Floats, throughput_mbps: Floats) -> Floats:
    sent_mbps = sent_bytes * 8 / description.cadence_seconds / 1e6
    with np.errstate(divide="ignore", invalid="ignore"):
        return (sent_mbps + IDLE_MBPS) / (throughput_mbps + IDLE_MBPS)


DERIVED: dict[str, tuple[tuple[str, ...], Any]] = {
    SECONDS_OFF_CADENCE: ((*schema.LINK_KEY, "timestamp"), _seconds_off_cadence),
    TIME_OF_DAY_OFFSET: (
        (*schema.LINK_KEY, "timestamp", "time_of_day"),
        partial(_calendar_offset, schema.Calendar.hours, 24),
    ),
    DAY_OF_WEEK_OFFSET: (
        (*schema.LINK_KEY, "timestamp", "day_of_week"),
        partial(_calendar_offset, schema.Calendar.days, 7),
    ),
    BYTES_RATIO: (("bytes_tx", "throughput_mbps"), _bytes_ratio),
}
"""Derived column: the columns it needs, and the function that computes it from the description and them."""
