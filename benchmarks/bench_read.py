"""Reading telemetry: our reader, a snapshot and `load_frame` compared with plain PyArrow on the same files in one run.

Plain reading only fills memory; our reader also checks names, types, texts and times. A snapshot also drops exact
duplicates, moves late rows to their day, sorts by link, writes and pins; "PyArrow, same work" sorts, drops and writes
the whole table. Each case runs in separate processes, and the cases take turns. Seconds are the median of all runs but
each process's first; memory is what the case adds. The share is PyArrow's seconds for the same work divided by ours.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.parquet as pq
from common import peak_memory_mb, report

from bwpredict import schema
from bwpredict.datasets.frame import load_frame
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.telemetry.day_copy import COLUMNS_READ, prefetch_tables
from bwpredict.telemetry.snapshot import take_snapshot
from bwpredict.telemetry.sources import list_keys, open_file

REPEATS, ROUNDS = 2, 2
AGAINST = {"ours, read only": "PyArrow, read only", "snapshot": "PyArrow, same work"}
START, END = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def plain(store: Path, work: Path) -> int:
    del work
    return int(_read(store).num_rows)


def ours(store: Path, work: Path) -> int:
    del work
    filesystem, span = open_store(str(store)).arrow_filesystem(), (int(START.timestamp()), int(END.timestamp()))
    keys = [item.key for item in list_keys(open_store(str(store)), "")]
    files = (open_file(filesystem, key, key, schema.OLD_NAMES) for key in keys)
    return sum(table.num_rows for _, tables in prefetch_tables(files, COLUMNS_READ, span) for table in tables)


def same_work(store: Path, work: Path) -> int:
    table = _read(store)
    unique = table.group_by(schema.COLUMN_NAMES).aggregate([])
    order = [(name, "ascending") for name in (*schema.LINK_KEY, "timestamp")]
    pq.write_table(unique.sort_by(order), work / "all.parquet", compression="zstd", compression_level=1)
    return int(table.num_rows)


def pulled(store: Path, work: Path) -> int:
    document = take_snapshot(open_store(str(store)), "", START, END, work)
    return int(document["rows"] + document["duplicates_removed"])


def loaded(store: Path, work: Path) -> int:
    del store
    return load_frame(work / "telemetry").rows


def _read(store: Path) -> pa.Table:
    form = "csv" if next(store.rglob("*.csv"), None) else "parquet"
    return pyarrow.dataset.dataset(store, format=form).to_table(columns=list(schema.COLUMN_NAMES))


def main() -> None:
    """Write the files, then measure each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=50)
    parser.add_argument("--days", type=int, default=14, help="days of telemetry, at most 31")
    arguments = parser.parse_args()
    cases: dict[str, Callable[[Path, Path], int]] = {
        "PyArrow, read only": plain,
        "ours, read only": ours,
        "PyArrow, same work": same_work,
        "snapshot": pulled,
        "load_frame": loaded,
    }
    with tempfile.TemporaryDirectory() as name:
        folders = _write(Path(name), arguments.links, arguments.days)
        rows = [
            row
            for form, folder in folders.items()
            for row in _compared(form, cases, folder, Path(name, f"work-{form}"))
        ]
    report("read", rows)


def _compared(
    form: str, cases: dict[str, Callable[[Path, Path], int]], store: Path, work: Path
) -> list[dict[str, object]]:
    """A row for each case, measured in turns."""
    work.mkdir()
    found: dict[str, list[tuple[int, list[float], float]]] = {what: [] for what in cases}
    for _ in range(ROUNDS):
        for what, action in cases.items():
            found[what].append(_measured(action, store, work))
    seconds = {what: median(second for _, times, _ in each for second in times) for what, each in found.items()}
    return [
        {
            "what": f"{form}: {what}",
            "rows": each[0][0],
            "seconds": seconds[what],
            "rows/s": each[0][0] / seconds[what],
            "memory MB": max(memory for _, _, memory in each),
            "share of PyArrow %": 100 * seconds[AGAINST[what]] / seconds[what] if what in AGAINST else None,
        }
        for what, each in found.items()
    ]


def _write(root: Path, links: int, days: int) -> dict[str, Path]:
    shares = {"gap_share": 0.01, "late_share": 0.01, "duplicate_share": 0.002}
    config = FleetConfig(links=links, days=days, start="2026-10-01", seed=42, **shares)
    write_partitioned(config, root / "parquet")
    for path in (root / "parquet").rglob("*.parquet"):
        copy = (root / "csv" / path.relative_to(root / "parquet")).with_suffix(".csv")
        copy.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.csv.write_csv(pq.read_table(path, partitioning=None), copy)
    return {form: root / form for form in ("parquet", "csv")}


def _measured(action: Callable[[Path, Path], int], store: Path, work: Path) -> tuple[int, list[float], float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure_here, action, store, work).result()


def _measure_here(action: Callable[[Path, Path], int], store: Path, work: Path) -> tuple[int, list[float], float]:
    before_mb, durations = peak_memory_mb(), []
    rows = action(store, work)
    for _ in range(REPEATS):
        began = time.perf_counter()
        action(store, work)
        durations.append(time.perf_counter() - began)
    return rows, durations, peak_memory_mb() - before_mb


if __name__ == "__main__":
    main()
