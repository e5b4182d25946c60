"""Read the tables of several files in order, and prefetch those of the next files meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pyarrow as pa

from bwpredict.telemetry.sources import TelemetryFile, read_tables

PREFETCH_FILES = 3

Tables = Iterator[pa.Table]


def prefetch_tables(
    files: Iterable[TelemetryFile], wanted: Mapping[str, pa.DataType], span: tuple[int, int] | None = None
) -> Iterator[tuple[TelemetryFile, Tables]]:
    """Each file with its tables, as `read_tables` gives them; a file's errors are raised where its tables are used.

    Arrow reads the first block of a CSV on one core, so `PREFETCH_FILES` are under way at a time. Beside what Arrow
    reads ahead, one table of each is in memory.
    """
    coming: deque[tuple[TelemetryFile, Tables, Future[pa.Table | None]]] = deque()
    with ThreadPoolExecutor(PREFETCH_FILES) as pool:
        for file in files:
            tables = read_tables(file, wanted, span)
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
