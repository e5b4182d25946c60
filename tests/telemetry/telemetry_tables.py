"""Small telemetry tables and the files they are in, for tests of reading."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.store.factory import open_store
from bwpredict.telemetry.columns import STORED_SCHEMA

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
SECONDS = int(OCTOBER.timestamp())
DAY = 86_400


def make_table(links: int = 3, samples: int = 20, start: int = SECONDS, step: int = 60, seed: int = 0) -> pa.Table:
    """All 20 columns, rows by link and time, random but plausible values."""
    generator = np.random.default_rng(seed)
    rows = links * samples
    node = np.repeat(np.arange(links), samples)
    columns: dict[str, object] = {}
    for column in schema.COLUMNS:
        if column.kind == "integer":
            columns[column.name] = generator.integers(0, 7, rows)
        elif column.kind == "number":
            columns[column.name] = np.round(generator.random(rows), 6)
        else:
            columns[column.name] = np.array(column.categories or ("eu-west-1", "eu-west-2"))[
                node % (len(column.categories) or 2)
            ]
    columns |= {"timestamp": np.tile(start + step * np.arange(samples), links), "node_id": node, "peer_id": 9 - node}
    return pa.table(columns).select(schema.COLUMN_NAMES).cast(STORED_SCHEMA)


def replace_value(table: pa.Table, column: str, row: int, value: object) -> pa.Table:
    """The table with one value changed; the column becomes text if the value is."""
    values = table[column].to_pylist()
    values[row] = value
    if isinstance(value, str):
        values = [None if each is None else str(each) for each in values]
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def write(table: pa.Table, path: Path) -> Path:
    """Write as the suffix says: .parquet, .csv or .csv.gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
        return path
    with pa.output_stream(str(path), compression="gzip" if path.suffix == ".gz" else None) as stream:
        pyarrow.csv.write_csv(table, stream)
    return path


def write_days(table: pa.Table, folder: Path, suffix: str = ".parquet") -> Path:
    """The partitioned layout: each row in its day's `date=` folder."""
    days = table["timestamp"].to_numpy() // DAY
    for day in np.unique(days).tolist():
        date = datetime.fromtimestamp(day * DAY, UTC).date()
        write(table.filter(pa.array(days == day)), folder / f"date={date}" / f"part-0{suffix}")
    return folder


def copy_to_store(folder: Path, uri: str) -> None:
    """Put every file under `folder` into the store."""
    store = open_store(uri)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        store.upload(path, path.relative_to(folder).as_posix())
