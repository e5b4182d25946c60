"""Small telemetry for the tests of validation, and ways to break it."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned

FIRST, SECOND = "2026-11-02", "2026-11-03"


def generate(folder: Path, **fleet) -> Path:
    return write_partitioned(FleetConfig(**{"links": 3, "days": 2, "start": FIRST, "seed": 5, **fleet}), folder)


def rewrite(telemetry: Path, day: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change a day's rows; columns that keep their kind keep their Parquet type."""
    path = telemetry / f"date={day}" / "part-0.parquet"
    frame = change(pq.ParquetFile(path).read().to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))
    for name in frame.columns.intersection(schema.COLUMN_NAMES):
        if pd.api.types.is_string_dtype(frame[name]) or isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype("str")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)


def rewrite_all(telemetry: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    for folder in telemetry.glob("date=*"):
        rewrite(telemetry, folder.name.removeprefix("date="), change)


def snapshot_of(telemetry: Path, start: str = FIRST, days: int = 2) -> dict:
    rows = sum(pq.read_metadata(path).num_rows for path in telemetry.glob("date=*/*.parquet"))
    end = pd.Timestamp(start, tz="UTC") + pd.Timedelta(days=days)
    return {"start": f"{start}T00:00:00+00:00", "end": end.isoformat(), "rows": rows}


def failures(result: dict) -> dict[str, str]:
    """{check id: sentence} of the failed checks."""
    return {check["id"]: check["sentence"] for check in result["checks"] if not check["passed"]}


def errors(result: dict) -> set[str]:
    return _failed(result, "error")


def warnings(result: dict) -> set[str]:
    return _failed(result, "warning")


def _failed(result: dict, severity: str) -> set[str]:
    return {check["id"] for check in result["checks"] if not check["passed"] and check["severity"] == severity}
