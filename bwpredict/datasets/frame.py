"""The in-memory form of telemetry that windows are cut from: a few plain arrays, sorted per link."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.core.parts import whole_links
from bwpredict.errors import TelemetryError

if TYPE_CHECKING:  # training needs none of them; functions that read files import them
    import pyarrow as pa

    from bwpredict.telemetry.description import Description

Integers = npt.NDArray[np.int64]

BLOCK_ROWS = 262_144
"""Rows of a file that are in memory at once."""
FILL_VALUE = 0.0
"""What stands in every row for a feature that the telemetry lacks."""


@dataclass(frozen=True)
class TelemetryFrame:
    """Telemetry of all links, rows sorted by (link, timestamp), unique, without NaN in used rows.

    A row with a missing (NaN) feature stays in place: no window may contain it.
    """

    values: npt.NDArray[np.float32]
    """[rows, len(schema.FEATURES)], raw units, in the order of `schema.FEATURES`."""
    timestamps: npt.NDArray[np.int64]
    """[rows], unix seconds, UTC."""
    link: npt.NDArray[np.int32]
    """[rows], position of the row's link in `links`; ascending."""
    links: pd.DataFrame
    """One row per link: `schema.LINK_KEY` and those of `schema.LINK_ATTRIBUTES` that are known."""
    cadence_seconds: int = schema.CADENCE_SECONDS
    calendar: schema.Calendar = schema.CALENDAR
    """What `time_of_day` and `day_of_week` follow."""
    filled: dict[str, float] | None = None
    """Features that the source lacks, with the constant that fills them (None or empty: none)."""
    mapped: tuple[mmap.mmap, ...] = ()
    """The files that the arrays are in; empty where they are in memory."""

    @property
    def rows(self) -> int:
        """Number of samples, over all links."""
        return len(self.timestamps)

    def link_rows(self) -> npt.NDArray[np.int64]:
        """[links + 1], the row at which each link begins, and the number of rows."""
        # Numbers of the array's own type: to compare with another type, NumPy copies the whole array.
        return np.searchsorted(self.link, np.arange(len(self.links) + 1, dtype=self.link.dtype))

    def parts(self, rows: int) -> Iterator[TelemetryFrame]:
        """The frame in parts of whole links, of at most this many rows each, more only where one link has more."""
        for first, past in whole_links(self.link_rows(), rows):
            yield self.of_links(first, past)

    def of_links(self, first: int, past: int) -> TelemetryFrame:
        """The rows of the links [first, past); `links` and their numbers stay."""
        part = slice(*self.link_rows()[[first, past]])
        return replace(self, values=self.values[part], timestamps=self.timestamps[part], link=self.link[part])

    def release(self) -> None:
        """Let go of the pages of mapped files that were read so far; they are read again when they are needed."""
        for file in self.mapped:
            file.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Arrays:
    """Where the rows of a frame are put; the fields are those of `TelemetryFrame`."""

    values: npt.NDArray[np.float32]
    timestamps: npt.NDArray[np.int64]
    link: npt.NDArray[np.int32]
    mapped: tuple[mmap.mmap, ...] = ()

    def frame(self, links: pd.DataFrame, description: Description) -> TelemetryFrame:
        """The frame of these arrays."""
        return TelemetryFrame(
            **vars(self),
            links=links,
            cadence_seconds=description.cadence_seconds,
            calendar=description.calendar,
            filled=filled_features(description),
        )


def in_memory(rows: int) -> Arrays:
    """Arrays for a frame of this many rows."""
    values = np.empty((rows, len(schema.FEATURES)), dtype=np.float32)
    return Arrays(values, np.empty(rows, dtype=np.int64), np.empty(rows, dtype=np.int32))


def filled_features(description: Description) -> dict[str, float]:
    """The features that the telemetry lacks, with the constant that fills them."""
    return {name: FILL_VALUE for name in schema.FEATURES if name in description.absent}


def load_frame(
    folder: Path,
    allocate: Callable[[int], Arrays] = in_memory,
    *,
    days: Collection[str] | None = None,
    description: Description | None = None,
) -> TelemetryFrame:
    """Read the telemetry folder that `take_snapshot` wrote, into the arrays that `allocate(rows)` gives.

    `days` (YYYY-MM-DD) leaves out all others. `description` is the snapshot's; a feature that it calls absent is
    `FILL_VALUE` in every row, and an attribute is left out of `links`.

    A block of a day's rows is in memory at a time beside the result (48 bytes a row). A link's attributes are those
    of its latest day. Missing values become NaN.

    Raises:
        TelemetryError: names the file that is missing, corrupt, unsorted, holds an empty link or timestamp,
            or two rows of one link and timestamp.
    """
    from bwpredict.telemetry.description import Description

    paths = sorted(folder.glob("date=*/part-0.parquet"))
    paths = [path for path in paths if days is None or path.parent.name.removeprefix("date=") in days]
    if not paths:
        raise TelemetryError(
            f"{folder}: holds no date=YYYY-MM-DD/part-0.parquet; expected the telemetry folder of a snapshot."
        )
    description = description or Description()
    runs = [_link_runs(path, description.absent) for path in paths]
    links = np.unique(np.concatenate([day.links for day in runs]), axis=0)
    counts = np.zeros((len(paths), len(links)), dtype=np.int64)
    codes = [_positions(day.links, links) for day in runs]
    for number, day in enumerate(runs):
        counts[number, codes[number]] = day.lengths
    # Where each day's part of each link begins: links one after another, days in order within a link.
    begins = (np.cumsum(counts.T) - counts.T.reshape(-1)).reshape(counts.T.shape).T
    frame = allocate(int(counts.sum())).frame(pd.DataFrame(), description)
    attributes = []
    for number, (path, day) in enumerate(zip(paths, runs, strict=True)):
        # Of each row of the day, how much later it stands in the frame.
        shift = begins[number, codes[number]] - day.begins
        _fill(frame, path, day, shift)
        attributes.append(day.attributes.set_index(codes[number]))
    edges = np.concatenate(([0], np.cumsum(counts.sum(axis=0))))
    for number, (first, past) in enumerate(pairwise(edges)):
        frame.link[first:past] = number
    frame.release()
    return replace(frame, links=_links_frame(links, attributes))


def _fill(frame: TelemetryFrame, path: Path, day: _Runs, shift: Integers) -> None:
    """Put a day's rows into the frame, each `shift` [runs] rows after where it stands in the file."""
    first = 0
    filled = frame.filled or {}
    for rows in _blocks(path, ["timestamp", *(name for name in schema.FEATURES if name not in filled)]):
        numbers = np.arange(first, first + rows.num_rows)
        target = numbers + shift[np.searchsorted(day.begins, numbers, side="right") - 1]
        frame.timestamps[target] = rows["timestamp"].to_numpy()
        for place, name in enumerate(schema.FEATURES):
            frame.values[target, place] = filled[name] if name in filled else rows[name].to_numpy(zero_copy_only=False)
        first += rows.num_rows
        frame.release()


@dataclass(frozen=True)
class _Runs:
    """The stretches of equal link in one day file."""

    links: Integers
    """[runs, 2], node_id and peer_id, ascending."""
    begins: Integers
    lengths: Integers
    attributes: pd.DataFrame
    """[runs], those of the first row of each."""


def _link_runs(path: Path, absent: Collection[str]) -> _Runs:
    import pyarrow as pa

    known = pa.schema([(name, pa.string()) for name in schema.LINK_ATTRIBUTES if name not in absent])
    begins, links, attributes = [], [], []
    rows, last = 0, np.empty((3, 0), dtype=np.int64)
    for block in _blocks(path, [*schema.LINK_KEY, "timestamp", *known.names]):
        keys = np.stack([_filled(block, name, path) for name in (*schema.LINK_KEY, "timestamp")])
        # With the last row of the block before, so that the order over the edge is seen.
        keys = np.concatenate([last, keys], axis=1)
        steps = np.diff(keys, axis=1)
        _check_order(keys, steps, path)
        new = np.concatenate(([] if rows else [True], (steps[0] != 0) | (steps[1] != 0))).astype(bool)
        firsts = np.flatnonzero(new)
        begins.append(rows + firsts)
        links.append(keys[:2, last.shape[1] :][:, firsts].T)
        named = pa.Table.from_batches([block]).select(known.names).take(pa.array(firsts))
        attributes.append(named.cast(known))
        rows, last = rows + block.num_rows, keys[:, -1:]
    begin = np.concatenate([np.empty(0, dtype=np.int64), *begins])
    return _Runs(
        np.concatenate([np.empty((0, 2), dtype=np.int64), *links]),
        begin,
        np.diff(np.append(begin, rows)),
        pa.concat_tables([known.empty_table(), *attributes]).to_pandas() if known.names else pd.DataFrame(index=begin),
    )


def _filled(block: pa.RecordBatch, name: str, path: Path) -> Integers:
    if block[name].null_count:
        raise TelemetryError(f"{path}: column {name!r} is empty in {block[name].null_count} rows.")
    values: Integers = block[name].to_numpy()
    return values


def _check_order(keys: Integers, steps: Integers, path: Path) -> None:
    ascending = (steps[0] > 0) | (steps[0] == 0) & ((steps[1] > 0) | (steps[1] == 0) & (steps[2] > 0))
    if ascending.all():
        return
    at = int(np.argmin(ascending))
    node, peer, time = keys[:, at + 1]
    where = f"link ({node}, {peer}) at timestamp {time}"
    if not steps[:, at].any():
        raise TelemetryError(f"{path}: {where} has two rows with different values; keep one of them.")
    raise TelemetryError(f"{path}: {where} is out of order; expected rows sorted by link and timestamp.")


def _positions(some: Integers, links: Integers) -> Integers:
    """Row in `links` (ascending, unique) of each of `some`."""
    order = np.concatenate([links, some])
    _, inverse = np.unique(order, axis=0, return_inverse=True)
    return np.asarray(inverse.reshape(-1)[len(links) :], dtype=np.int64)


def _links_frame(links: Integers, attributes: list[pd.DataFrame]) -> pd.DataFrame:
    latest = pd.concat(attributes)
    latest = latest[~latest.index.duplicated(keep="last")].sort_index().reset_index(drop=True)
    return pd.concat([pd.DataFrame(links, columns=list(schema.LINK_KEY)), latest], axis=1)


def _blocks(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The file's rows, `BLOCK_ROWS` at a time; without empty blocks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Text as dictionaries: a link's attributes repeat in every row of the day. Buffered, the bytes of the whole
        # file would stay in memory until its end.
        texts = [name for name in schema.LINK_ATTRIBUTES if name in columns]
        with pq.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as file:
            yield from (block for block in file.iter_batches(BLOCK_ROWS, columns=columns) if block.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise TelemetryError(f"{path}: cannot be read as Parquet telemetry: {str(error).splitlines()[0]}.") from error
