"""Where the samples come from: a mapping of `bwpredict collect`, or a telemetry folder that is polled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bwpredict import schema
from bwpredict.config import read_yaml
from bwpredict.datasets.frame import filled_features
from bwpredict.errors import ConfigError, StoreUnreachableError, TelemetryError
from bwpredict.inference.stream_model import positions_by_value
from bwpredict.serving.adaptive_intervals import Link
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.telemetry import sources
from bwpredict.telemetry.description import NAME, Description, read_description

_CALENDAR = ("time_of_day", "day_of_week")
_MEASURED = tuple(name for name in schema.FEATURES if name not in _CALENDAR)
_READ = ("timestamp", *schema.LINK_KEY, *_MEASURED)
_LOW, _HIGH = schema.physical_bounds(_MEASURED)


class Source(Protocol):
    """What telemetry is read from."""

    where: str

    def check(self) -> None:
        """Raise a ConfigError for a mapping that names what is not there."""

    def read_day(self, first: int, past: int) -> pa.Table:
        """The rows of [first, past) unix seconds, under schema names."""


@dataclass(frozen=True)
class Minute:
    """The samples of one minute: at most one of each link."""

    at: int
    """Unix second, a whole minute."""
    links: list[Link]
    values: npt.NDArray[np.float32]
    """[links, features], raw units; NaN: missing, or out of the column's bounds."""
    invalid: int
    """Values out of bounds among them."""


def open_source(text: str) -> Source:
    """The source that a mapping file or a telemetry folder (or s3://bucket/prefix) describes.

    Raises:
        ConfigError: it is neither, or the mapping is wrong.
    """
    path = Path(text)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _mapped(path)
    if "://" not in text and not path.is_dir():
        raise ConfigError(f"{text}: is neither a mapping file (.yaml) nor a telemetry folder.")
    return FolderSource(open_store(text))


def minutes_of(table: pa.Table, counts: dict[int, int] | None = None) -> Iterator[Minute]:
    """The rows minute by minute, oldest first; of a link's rows in one minute, the last counts.

    `counts` (minute → its rows when it was read before) leaves out minutes to which no row has come since, and is
    brought up to date.
    """
    table = table.filter(_has_key(table))
    if counts is not None and table.num_rows:
        minute = _minutes(table)
        found, rows = np.unique(minute, return_counts=True)
        changed = [at for at, count in zip(found.tolist(), rows.tolist(), strict=True) if counts.get(at) != count]
        counts.update(zip(found.tolist(), rows.tolist(), strict=True))
        table = table.filter(pa.array(np.isin(minute, changed)))
    if not table.num_rows:
        return
    node, peer, time = (table[name].to_numpy().astype(np.int64) for name in (*schema.LINK_KEY, "timestamp"))
    minute = _minutes(table)
    order = np.lexsort((time, peer, node, minute))
    key = np.stack((minute, node, peer))[:, order]
    last = order[np.append((np.diff(key, axis=1) != 0).any(axis=0), True)]
    values, invalid = _values(table, last, minute[last])
    for at, here in positions_by_value(minute[last]):
        rows = last[here]
        links = list(zip(node[rows].tolist(), peer[rows].tolist(), strict=True))
        yield Minute(at, links, values[here], int(invalid[here].sum()))


class FolderSource:
    """A telemetry folder, flat or partitioned by day, to which files may be added at any time.

    Raises:
        TelemetryError: a file cannot be read, such as one that is still being written.
        StoreUnreachableError: the folder is gone.
    """

    def __init__(self, store: Store) -> None:
        """Nothing is read yet."""
        self.where = store.uri
        self._store = store
        self._spans: dict[str, tuple[tuple[Any, Any], tuple[int, int]]] = {}
        """Key → size and time of change, and the first and the last second of its rows."""
        self._described: tuple[Any, Description] | None = None
        """Size and time of change of `telemetry.json`, and what it says."""

    def check(self) -> None:
        """List the files."""
        sources.list_keys(self._store, "")

    def span(self) -> tuple[int, int]:
        """The first second and the one after the last of all rows. Raises TelemetryError where there is none."""
        spans = [self._span(item.key) for item in sources.list_keys(self._store, "")]
        spans = [each for each in spans if each[0] <= each[1]]
        if not spans:
            raise TelemetryError(f"{self.where}: its telemetry files hold no rows.")
        return min(first for first, _ in spans), max(last for _, last in spans) + 1

    def newest_at(self) -> int:
        """The second of the newest row; of a partitioned folder, only the last days are opened.

        Raises:
            TelemetryError: there is no row.
        """
        keys = sources.list_keys(self._store, "")
        last = max((item.day for item in keys if item.day), default=date.min)
        recent = last - timedelta(days=min(sources.LATE_DAYS, (last - date.min).days))
        spans = [self._span(item.key) for item in keys if item.day is None or item.day >= recent]
        seconds = [newest for first, newest in spans if first <= newest]
        return max(seconds) if seconds else self.span()[1] - 1

    def read_day(self, first: int, past: int) -> pa.Table:
        """The rows of [first, past) unix seconds; files that hold none are not opened again until they change.

        Imported telemetry is read as a training reads it: hour and weekday of the link's time zone, and a constant for
        a feature that it lacks.
        """
        description = self._description()
        filled = filled_features(description)
        names = (*_READ, *(_CALENDAR if description.imported else ()))
        wanted = {name: schema.COLUMN[name].arrow_type for name in names if name not in filled}
        days = (datetime.fromtimestamp(seconds, UTC) for seconds in (first, past))
        keys = sources.keys_in_span(sources.list_keys(self._store, ""), *days)
        tables = [pa.schema(list(wanted.items())).empty_table()]
        for key in (item.key for item in keys):
            begin, end = self._span(key)
            if begin < past and end >= first:
                tables.extend(sources.read_tables(self._open(key), wanted, (first, past)))
        found = pa.concat_tables(tables)
        for name, value in filled.items():
            found = found.append_column(name, pa.repeat(value, len(found)))
        return found

    def _description(self) -> Description:
        state = self._state(NAME)
        if self._described is None or self._described[0] != state:
            self._described = state, Description.read(read_description(self._store))
        return self._described[1]

    def _state(self, key: str) -> tuple[Any, Any]:
        """A value that differs whenever the file has changed."""
        try:
            info = self._store.arrow_filesystem().get_file_info(key)
        except OSError as error:
            where = sources.display_uri(self._store, key)
            raise StoreUnreachableError(f"{where}: cannot be read ({error.strerror or error}).") from error
        return info.size, info.mtime_ns

    def _span(self, key: str) -> tuple[int, int]:
        state = self._state(key)
        known = self._spans.get(key)
        if known is None or known[0] != state:
            found = [(1, 0)]  # no row
            for table in sources.read_tables(self._open(key), {"timestamp": pa.int64()}):
                if table.num_rows:
                    ends = pc.min_max(table["timestamp"]).as_py()
                    found.append((ends["min"], ends["max"]))
            spans = found[1:] or found
            self._spans[key] = known = state, (min(each[0] for each in spans), max(each[1] for each in spans))
        return known[1]

    def _open(self, key: str) -> sources.TelemetryFile:
        name = sources.display_uri(self._store, key)
        return sources.open_file(self._store.arrow_filesystem(), key, name, schema.OLD_NAMES)


def _mapped(path: Path) -> Source:
    """The source of a mapping: one with `metrics` is for Prometheus, one with `table` for SQL."""
    keys = read_yaml(path, "mapping of telemetry")
    if isinstance(keys, dict) and "metrics" in keys:
        from bwpredict.ingestion import prometheus

        mapping = prometheus.load_mapping(path)
        needed = {
            part: {name: value for name, value in getattr(mapping, part).items() if name in (*_READ, *_CALENDAR)}
            for part in ("labels", "metrics", "constants")
        }
        return prometheus.PrometheusSource(mapping.model_copy(update=needed))
    if isinstance(keys, dict) and "table" in keys:
        from bwpredict.ingestion import sql

        return sql.SqlSource(sql.load_mapping(path))
    raise ConfigError(f"{path}: has neither `metrics` (a mapping for Prometheus) nor `table` (for SQL).")


def _minutes(table: pa.Table) -> npt.NDArray[np.int64]:
    seconds: npt.NDArray[np.int64] = table["timestamp"].to_numpy().astype(np.int64)
    return seconds // schema.CADENCE_SECONDS * schema.CADENCE_SECONDS


def _has_key(table: pa.Table) -> pa.ChunkedArray:
    there = [pc.is_valid(table[name]) for name in ("timestamp", *schema.LINK_KEY)]
    return pc.and_(pc.and_(there[0], there[1]), there[2])


def _values(
    table: pa.Table, rows: npt.NDArray[np.int64], minute: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """[rows, features], NaN in place of what no column may hold, and [rows] how many of these."""
    values = np.empty((len(rows), len(schema.FEATURES)), np.float32)
    invalid = np.zeros(len(rows), np.int64)
    for name, low, high in zip(_MEASURED, _LOW, _HIGH, strict=True):
        column = table[name].cast(pa.float64()).to_numpy()[rows]
        wrong = (column < low) | (column > high) | np.isinf(column)
        invalid += wrong
        values[:, schema.FEATURES.index(name)] = np.where(wrong, np.nan, column)
    computed = {"time_of_day": schema.CALENDAR.hours, "day_of_week": schema.CALENDAR.days}
    for name in _CALENDAR:
        known = name in table.column_names
        values[:, schema.FEATURES.index(name)] = table[name].to_numpy()[rows] if known else computed[name](minute)
    return values, invalid
