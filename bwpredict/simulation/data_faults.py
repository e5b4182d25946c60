"""Ways in which telemetry goes wrong, put into day partitions on purpose: for the demo and the tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.store.files import atomic_path

Fault = Callable[[pd.DataFrame], pd.DataFrame]

_EVERY_ROWS = 200
"""Faults of single rows affect one row in 200: 0.5 %."""


def impossible_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Negative round-trip times and, in other rows, a packet loss above 1: a probe that counts in percent."""
    rows = rows.copy()
    rows.loc[_some(rows, 0), "rtt_ms"] *= -1
    rows.loc[_some(rows, _EVERY_ROWS // 2), "packet_loss"] = 1.5
    return rows


def wrong_unit(rows: pd.DataFrame) -> pd.DataFrame:
    """Throughput in kbit/s on every third link: a collector that was updated. `bytes_tx` stays right."""
    rows = rows.copy()
    link = rows.groupby(list(schema.LINK_KEY)).ngroup()
    rows.loc[link % 3 == 0, "throughput_mbps"] *= 1000
    return rows


def wrong_calendar(rows: pd.DataFrame) -> pd.DataFrame:
    """`day_of_week` counted from Monday = 0."""
    return rows.assign(day_of_week=(rows["day_of_week"] + 6) % 7)


def missing_values(rows: pd.DataFrame) -> pd.DataFrame:
    """Nulls in `rtt_ms` and, in other rows, `throughput_mbps`."""
    rows = rows.copy()
    rows.loc[_some(rows, 0), "rtt_ms"] = np.nan
    rows.loc[_some(rows, _EVERY_ROWS // 2), "throughput_mbps"] = np.nan
    return rows


FAULTS: dict[str, Fault] = {
    fault.__name__: fault for fault in (impossible_values, wrong_unit, wrong_calendar, missing_values)
}
"""The faults by name. Each returns changed rows and leaves its argument as it was."""


def inject(folder: Path, fault: str, days: Sequence[str] | None = None) -> list[Path]:
    """Rewrite the partitions of `days` (YYYY-MM-DD; None: all) in `folder` with a fault.

    Returns the files that changed. Each file is rewritten atomically.

    Raises:
        ConfigError: the fault is unknown, or a day is not given as YYYY-MM-DD.
        TelemetryError: a day has no Parquet file in the folder.
    """
    if fault not in FAULTS:
        raise ConfigError(f"fault: must be one of {', '.join(FAULTS)} (given: {fault!r}).")
    files = _files(folder, days)
    for path in files:
        _rewrite(path, FAULTS[fault])
    return files


def _some(rows: pd.DataFrame, first: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(len(rows)) % _EVERY_ROWS == min(first, len(rows) - 1))


def _files(folder: Path, days: Sequence[str] | None) -> list[Path]:
    if strange := [day for day in days or () if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", day)]:
        raise ConfigError(f"days: must be dates as YYYY-MM-DD (given: {strange[0]!r}).")
    found = []
    for day in ["*"] if days is None else days:
        paths = sorted(folder.glob(pattern := f"date={day}/*.parquet"))
        if not paths:
            raise TelemetryError(f"{folder}: no file matches {pattern}; generate the day before breaking it.")
        found += paths
    return found


def _rewrite(path: Path, fault: Fault) -> None:
    # Read as one file: as a dataset, the folder's name would add a column.
    rows = pq.ParquetFile(path).read().to_pandas()
    kinds = pa.schema([(column.name, column.arrow_type) for column in schema.COLUMNS])
    broken = pa.Table.from_pandas(fault(rows), schema=kinds, preserve_index=False).replace_schema_metadata()
    with atomic_path(path) as temporary:
        pq.write_table(broken, temporary, compression="zstd")
