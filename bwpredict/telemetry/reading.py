"""The tables of several files one after another, of the next file some already while this one's are worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from bwpredict.telemetry.sources import TelemetryFile, read_tables

Tables = Iterator[pa.Table]


def read_in_turn(
    files: Iterable[TelemetryFile], wanted: Mapping[str, pa.DataType], span: tuple[int, int] | None = None
) -> Iterator[tuple[TelemetryFile, Tables]]:
    """Each file with its tables, as `read_tables` gives them; a file's errors are raised where its tables are used.

    Arrow reads one file on one core where it is a CSV, so two are under way at a time. Beside what Arrow reads ahead,
    one table of this file and one of the next are in memory.
    """
    with ThreadPoolExecutor(2) as pool:
        coming: tuple[TelemetryFile, Tables, Future[pa.Table | None]] | None = None
        for file in files:
            tables = read_tables(file, wanted, span)
            now, coming = coming, (file, tables, pool.submit(next, tables, None))
            if now:
                yield now[0], _ahead(*now[1:], pool)
        if coming:
            yield coming[0], _ahead(*coming[1:], pool)


def _ahead(tables: Tables, first: Future[pa.Table | None], pool: ThreadPoolExecutor) -> Tables:
    """The tables, the next of which is made while one is used."""
    table = first.result()
    while table is not None:
        following = pool.submit(next, tables, None)
        yield table
        table = following.result()
