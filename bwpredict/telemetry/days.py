"""One day of telemetry at a time: gather its rows from many files, drop exact duplicates, sort per link.

A day that is too large is kept as runs of rows sorted by link, in scratch files, and merged in parts of bounded size.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bwpredict import schema
from bwpredict.core.parts import whole_links

Integers = npt.NDArray[np.int64]

DAY_SECONDS = 86_400
MEMORY_BYTES = 400 << 20
"""Rows kept in memory while days are open: two days of 1,000 links. Beyond it, the largest day moves to a scratch file,
sorted by link."""
PART_ROWS = 1 << 18
"""A larger day is read in parts of at most this many rows; a link is never split."""
DENSE_RANGE = 1 << 20
"""Whole numbers that lie this close together are their own ranks, from the least one on."""
SCRATCH_ROWS = 65_536
"""Rows that are read from a scratch file at once."""


@dataclass
class DayBuckets:
    """Rows grouped by day, in memory up to a limit and in scratch files beyond it.

    Rows reach a day in any order and from any number of files.
    """

    scratch: Path
    limit_bytes: int = MEMORY_BYTES
    part_rows: int = PART_ROWS
    _tables: dict[int, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    _runs: dict[int, list[Run]] = field(default_factory=lambda: defaultdict(list))
    _bytes: Counter[int] = field(default_factory=Counter)

    def add(self, table: pa.Table) -> dict[int, int]:
        """Put each row into the day of its timestamp (days since 1970); return the rows of each day."""
        if table.num_rows == 0:
            return {}
        days = table["timestamp"].to_numpy() // DAY_SECONDS
        found, counts = np.unique(days, return_counts=True)
        for day in found.tolist():
            part = table if len(found) == 1 else table.filter(pa.array(days == day))
            self._tables[day].append(part)
            self._bytes[day] += part.nbytes
        while self._bytes.total() > self.limit_bytes:
            self._spill(self._bytes.most_common(1)[0][0])
        return dict(zip(found.tolist(), counts.tolist(), strict=True))

    def open_days(self) -> list[int]:
        """Days that hold rows, ascending."""
        return sorted(set(self._tables) | set(self._runs))

    def take(self, day: int) -> Iterator[pa.Table]:
        """Remove and return all rows of a day, in parts of whole links, in ascending order of the links.

        The parts are read as they are asked for, and may be asked for in another thread.
        """
        del self._bytes[day]
        return _parts(self._runs.pop(day, []), self._tables.pop(day, []), self.part_rows)

    def _spill(self, day: int) -> None:
        path = self.scratch / f"{day}-{len(self._runs[day])}.arrow"
        del self._bytes[day]
        self._runs[day].append(spill(_sorted(self._tables.pop(day)), path))


def _parts(runs: list[Run], tables: list[pa.Table], rows: int) -> Iterator[pa.Table]:
    if not runs and sum(table.num_rows for table in tables) <= rows:
        yield pa.concat_tables(tables).unify_dictionaries()
        return
    if tables:
        runs.append(make_run(_sorted(tables)))
        tables.clear()
    yield from merge_runs(runs, rows)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    """The rows of all tables by link and timestamp."""
    table = pa.concat_tables(tables).unify_dictionaries()
    key = _key(table)
    return table if (np.diff(key) >= 0).all() else table.take(pa.array(np.argsort(key, kind="stable")))


@dataclass(frozen=True)
class SortedDay:
    """A day's rows, unique and in order."""

    table: pa.Table
    links: frozenset[tuple[int | None, int | None]]
    duplicates: int
    """Rows that repeated another in every column, removed."""
    conflicts: int
    """Rows that share link and timestamp with another but differ from it, kept."""


def sort_and_deduplicate(table: pa.Table) -> SortedDay:
    """Sort a day's rows by (node_id, peer_id, timestamp), and drop those equal in every column.

    The result depends on the set of rows alone, not on their order. Missing keys come last.
    """
    key = _key(table)
    step = np.diff(key)
    order = np.arange(len(key)) if (step >= 0).all() else np.argsort(key, kind="stable")
    key = key[order]
    links = _links(table, order[np.diff(key // DAY_SECONDS, prepend=-1) != 0])
    same = key[1:] == key[:-1]
    conflicts = 0
    if same.any():
        order, conflicts = _settle(table, order, key, same)
    if len(order) < table.num_rows or not (step > 0).all():
        table = table.take(pa.array(order))
    return SortedDay(table, links, len(key) - len(order), conflicts)


def _key(table: pa.Table) -> Integers:
    """[rows], a number that orders the rows of a day by (node_id, peer_id, timestamp); missing keys come last."""
    node, peer = _ranks(table["node_id"]), _ranks(table["peer_id"])
    link = node * (int(peer.max(initial=0)) + 1) + peer
    key: Integers = link * DAY_SECONDS + table["timestamp"].to_numpy() % DAY_SECONDS
    return key


def _settle(table: pa.Table, order: Integers, key: Integers, same: npt.NDArray[np.bool_]) -> tuple[Integers, int]:
    """The order without exact duplicates, rows of one key sorted by all columns; and the rows in conflict."""
    shared = np.zeros(len(order), dtype=bool)
    shared[1:] |= same
    shared[:-1] |= same
    group = key[shared]
    rows = table.take(pa.array(order[shared]))
    ranks = np.stack([group, *(_ranks(column) for column in rows.columns)])
    by_value = np.lexsort(ranks[::-1])
    ranks = ranks[:, by_value]
    repeated = np.concatenate(([False], (ranks[:, 1:] == ranks[:, :-1]).all(axis=0)))
    settled = order.copy()
    settled[shared] = order[shared][by_value]
    keep = np.ones(len(order), dtype=bool)
    keep[shared] = ~repeated
    _, left = np.unique(group[~repeated], return_counts=True)
    return settled[keep], int(left[left > 1].sum())


def _ranks(column: pa.ChunkedArray) -> Integers:
    """[rows], numbers that are ordered as the column's values are; missing ones last."""
    if pa.types.is_integer(column.type) and not column.null_count and len(column):
        values = column.to_numpy()
        least = int(values.min())
        if int(values.max()) - least < DENSE_RANGE:
            dense: Integers = values.astype(np.int64, copy=False) - least
            return dense
    if pa.types.is_floating(column.type):
        # Compared as bits, so that equal rows have equal bytes: NaN equals NaN, and 0.0 differs from -0.0.
        column = pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary
    rank = np.empty(len(values) + 1, dtype=np.int64)
    rank[pc.sort_indices(values).to_numpy()] = np.arange(len(values))
    rank[-1] = len(values)
    ranks: Integers = rank[encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]
    return ranks


def _links(table: pa.Table, rows: Integers) -> frozenset[tuple[int | None, int | None]]:
    """The links of these rows."""
    pairs = table.select(["node_id", "peer_id"]).take(pa.array(rows))
    return frozenset(zip(pairs["node_id"].to_pylist(), pairs["peer_id"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Run:
    """Rows in order of link: a table, or the name of a scratch file."""

    links: Integers
    """[links, 4] ascending: whether node_id is missing, node_id, whether peer_id is missing, peer_id."""
    begins: Integers
    """[links + 1], the row at which each link begins, and the number of rows."""
    rows: pa.Table | Path

    def slice(self, first: int, past: int) -> pa.Table:
        """The rows [first, past)."""
        if isinstance(self.rows, pa.Table):
            return self.rows.slice(first, past - first)
        block = first // SCRATCH_ROWS
        # Read instead of mapped: pages of a mapped file count as memory of this process.
        with pa.OSFile(str(self.rows)) as source:
            file = pa.ipc.open_file(source)
            batches = [file.get_batch(number) for number in range(block, -(-past // SCRATCH_ROWS))]
            table = pa.Table.from_batches(batches, file.schema)
        return table.slice(first - block * SCRATCH_ROWS, past - first)


def make_run(table: pa.Table) -> Run:
    """A run of rows that are sorted by link."""
    columns = _link_columns(table)
    changes = np.zeros(max(0, table.num_rows - 1), dtype=bool)
    for column in columns:
        changes |= np.diff(column) != 0
    begins = np.concatenate(([0], np.flatnonzero(changes) + 1))
    links = np.stack([column[begins] for column in columns], axis=1)
    return Run(links, np.append(begins, table.num_rows), table)


def spill(table: pa.Table, path: Path) -> Run:
    """A run of rows that are sorted by link, in the new file `path`."""
    run, table = make_run(table), table.unify_dictionaries()
    with pa.ipc.new_file(path, table.schema) as writer:
        for first in range(0, table.num_rows, SCRATCH_ROWS):
            # Blocks of one size, so that a row's number gives its block, and the whole is never copied.
            writer.write_table(table.slice(first, SCRATCH_ROWS).combine_chunks())
    return Run(run.links, run.begins, path)


def merge_runs(runs: list[Run], rows: int) -> Iterator[pa.Table]:
    """All rows of all runs, in parts that hold whole links, links ascending over the parts.

    A part has at most `rows` rows, more only where one link has more. Each run's scratch file is deleted at the end.
    """
    links = np.unique(np.concatenate([run.links for run in runs]), axis=0)
    begins = np.stack([_begins_of(links, run) for run in runs])
    for first, past in whole_links(begins.sum(axis=0), rows):
        yield pa.concat_tables(
            [run.slice(int(begin[first]), int(begin[past])) for run, begin in zip(runs, begins, strict=True)]
        ).unify_dictionaries()
    for run in runs:
        if isinstance(run.rows, Path):
            run.rows.unlink(missing_ok=True)


def _link_columns(table: pa.Table) -> list[Integers]:
    """The columns of `Run.links`, for each row; missing ones sort last."""
    columns = []
    for name in schema.LINK_KEY:
        column = table[name]
        columns += [column.is_null().to_numpy().astype(np.int64), column.fill_null(0).to_numpy()]
    return columns


def _begins_of(links: Integers, run: Run) -> Integers:
    """[links + 1], the row of the run at which each of `links` (ascending, the run's among them) begins."""
    _, place = np.unique(np.concatenate([links, run.links]), axis=0, return_inverse=True)
    counts = np.zeros(len(links), dtype=np.int64)
    counts[place.reshape(-1)[len(links) :]] = np.diff(run.begins)
    return np.concatenate(([0], np.cumsum(counts)))
