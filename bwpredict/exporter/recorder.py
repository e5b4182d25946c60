"""Every forecast as Parquet, by day: `FOLDER/date=YYYY-MM-DD/HHMM-HHMM.parquet`, the minutes (UTC) that a file holds.

A row is a link's forecast of one target at one horizon; its quantiles are columns, such as `q0.05`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.exporter.board import with_adapted_bounds
from bwpredict.serving.stream import StreamForecasts
from bwpredict.store.files import atomic_path

MAX_ROWS = 2_000_000
"""Held in memory between two files: ten minutes of 10,000 links."""


class Recorder:
    """Collects forecasts and writes them at `flush`. A minute that an earlier process recorded is left out."""

    def __init__(self, folder: Path) -> None:
        """Look for the newest minute in the folder, which need not exist yet."""
        self._folder = folder
        self._recorded_to = _newest(folder)
        self._tables: list[tuple[int, pa.Table]] = []

    def add(self, at: int, answer: StreamForecasts) -> None:
        """Take the forecasts that were made at the unix second `at`.

        Raises:
            OSError: the folder cannot be written; the forecasts that were held are dropped.
        """
        if at > self._recorded_to:
            self._tables.append((at, _table(at, answer)))
            if sum(table.num_rows for _, table in self._tables) > MAX_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what is held, one file for each day. Raises OSError, as `add`."""
        held, self._tables = self._tables, []
        days: dict[str, list[tuple[int, pa.Table]]] = {}
        for at, table in held:
            days.setdefault(f"{_utc(at):%Y-%m-%d}", []).append((at, table))
        for day, parts in days.items():
            minutes = [at for at, _ in parts]
            path = _free(self._folder / f"date={day}" / f"{_utc(min(minutes)):%H%M}-{_utc(max(minutes)):%H%M}.parquet")
            with atomic_path(path) as temporary:
                pq.write_table(pa.concat_tables([part for _, part in parts]), temporary, compression="zstd")


def _table(at: int, answer: StreamForecasts) -> pa.Table:
    links, horizons, levels, targets = answer.quantiles.shape
    values = with_adapted_bounds(answer).transpose(2, 0, 3, 1).reshape(levels, -1)
    each = targets * horizons
    node, peer = np.array(answer.links, np.int64).reshape(-1, 2).T
    names = pa.array(np.tile(np.repeat(np.arange(targets, dtype=np.int8), horizons), links))
    columns = {
        "made_at": np.full(links * each, at, np.int64),
        "node_id": np.repeat(node, each),
        "peer_id": np.repeat(peer, each),
        "target": pa.DictionaryArray.from_arrays(names, list(schema.TARGETS)),
        "horizon_minutes": np.tile(np.array(answer.horizons_minutes, np.float32), links * targets),
        **{f"q{level:g}": values[number] for number, level in enumerate(answer.quantile_levels)},
    }
    return pa.table(columns).append_column("version", pa.repeat(answer.forecasts.version, links * each))


def _newest(folder: Path) -> int:
    """Unix second of the last minute in the folder; 0: none."""
    names = [f"{path.parent.name[5:]} {path.stem[5:9]}" for path in folder.glob("date=*/????-????*.parquet")]
    if not names:
        return 0
    return int(datetime.strptime(max(names), "%Y-%m-%d %H%M").replace(tzinfo=UTC).timestamp())


def _free(path: Path) -> Path:
    """The path, or with a number where late samples make another file of the same minutes."""
    number, free = 1, path
    while free.exists():
        number, free = number + 1, path.with_stem(f"{path.stem}-{number + 1}")
    return free


def _utc(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)
