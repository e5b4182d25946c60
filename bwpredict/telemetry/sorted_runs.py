"""Runs of rows sorted by link, in memory or in scratch files, and their merge in parts of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bwpredict import schema
from bwpredict.core.parts import whole_links

Integers = npt.NDArray[np.int64]

SCRATCH_ROWS = 65_536
"""Rows that are read from a scratch file at once."""


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

    def discard(self) -> None:
        """Delete the scratch file, if there is one."""
        if isinstance(self.rows, Path):
            self.rows.unlink(missing_ok=True)


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
        run.discard()


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
