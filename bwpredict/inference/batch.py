"""Forecasts for a whole telemetry folder or bucket prefix, a day at a time: Parquet in, Parquet out, bounded memory."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.core.link_labels import unknown_link
from bwpredict.core.progress_bar import track
from bwpredict.datasets.frame import TelemetryFrame, load_frame
from bwpredict.datasets.memmap import mapped_arrays
from bwpredict.datasets.windows import WindowIndex, index_samples, index_windows
from bwpredict.errors import ConfigError, PredictionError, TelemetryError
from bwpredict.inference.onnx_model import Forecast, forecast_with_bounds, input_contract, open_model
from bwpredict.inference.stream_model import forecast_stream, stream_of, takes_state
from bwpredict.store.base import Store
from bwpredict.store.files import atomic_path, sha256_of
from bwpredict.telemetry import snapshot
from bwpredict.telemetry.day_files import day_file
from bwpredict.telemetry.days import DAY_SECONDS
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.sources import list_keys

Days = tuple[date, date]
Mode = Literal["stream", "windows"]
"""How a model's file forecasts."""
MADE_FROM = b"bwpredict.made_from"
"""Key in a partition's Parquet metadata: what its forecasts follow from, so that they need not be made again."""

_UTC = pa.timestamp("s", tz="UTC")
ONE_DAY = timedelta(days=1)
PART_ROWS = 1 << 20
"""Of telemetry, in whole links, whose forecasts are made and written at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predicted:
    """What `predict` did."""

    mode: Mode
    days: int
    days_left: int
    """Days whose forecasts were there already, from the same model and telemetry."""
    forecasts: int


def predict(
    store: Store,
    model: Path,
    output: Path,
    *,
    days: Days | None = None,
    every_minutes: int = 1,
    link: tuple[int, int] | None = None,
) -> Predicted:
    """Forecast from the samples of each day, and write `output/date=YYYY-MM-DD/part-0.parquet`.

    A model for streams forecasts from every sample, with the day before as its memory; a model for windows from each
    sample that ends a window without a gap.

    A row has the link, `timestamp` of the last sample seen and `forecast_for`, both in unix seconds and, as
    `timestamp_utc` and `forecast_for_utc`, in a form that people read; and for each target
    the forecast and, if the model has intervals, `<target>_lower` and `<target>_upper`. A day is that of the last
    sample; it is written atomically, and left as it is where the same model and telemetry have made it.
    Memory holds `PART_ROWS` of telemetry; two days of it are in scratch files in `output`.

    Args:
        store: the telemetry, as `snapshot.take_snapshot` reads it.
        model: an ONNX file of the contract, for streams or for windows.
        output: folder for the partitions.
        days: the first and the last day to forecast from; all that are there if it is None.
        every_minutes: minutes of the clock between two samples to forecast from.
        link: node_id and peer_id of the only link to forecast; None: all. Days without it are left out.

    Raises:
        ConfigError: no day has the link.
        TelemetryError, StoreUnreachableError: as `snapshot.take_snapshot`.
        ModelError: as `scoring.forecast`.
        PredictionError: the forecasts cannot be written.
    """
    if every_minutes < 1:
        raise ConfigError(f"every={every_minutes}: expected a number of minutes, 1 or more.")
    first, last = days or _all_days(store)
    if first > last:
        raise ConfigError(f"days {first} to {last}: the first comes after the last.")
    task = _task(model, every_minutes, link)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".predict-", dir=output) as scratch:
            # The day before holds the start of the first windows, and the history that streams warm up on.
            start, end = (datetime.combine(day, time(), UTC) for day in (first - ONE_DAY, last + ONE_DAY))
            pinned = snapshot.take_snapshot(store, "", start, end, Path(scratch))
            sha256 = {date.fromisoformat(day["date"]): day["sha256"] for day in pinned["days"]}
            telemetry = Path(scratch, snapshot.TELEMETRY_FOLDER)
            read = partial(load_frame, telemetry, description=Description.of_snapshot(pinned))
            wanted = [day for day in sorted(sha256) if day >= first]
            made = _predict_days(read, wanted, task, sha256, output)
    except OSError as error:
        raise PredictionError(
            f"{output}: cannot be written ({error.strerror or error}); free some space or give another folder, and run"
            " again: the days that are there are kept."
        ) from error
    if not made:
        raise TelemetryError(f"{store.uri}: holds no telemetry of {first} to {last}.")
    done = [rows for rows in made if rows is not None]
    return Predicted(task.mode, len(done), len(made) - len(done), sum(done))


@dataclass(frozen=True)
class _Task:
    mode: Mode
    sha256: str
    every_minutes: int
    link: tuple[int, int] | None
    index: Callable[[TelemetryFrame], WindowIndex]
    forecast: Callable[[WindowIndex], Forecast]


def _task(path: Path, every_minutes: int, link: tuple[int, int] | None) -> _Task:
    """How the model in a file forecasts: according to the file itself."""
    session = open_model(path, 0)
    if takes_state(session):
        stream = stream_of(session, str(path))
        index = partial(index_samples, horizon_minutes=stream.horizon_minutes)
        forecast = partial(forecast_stream, stream, history_seconds=DAY_SECONDS)
        return _Task("stream", sha256_of(path), every_minutes, link, index, forecast)
    size, minutes = input_contract(path)
    windows = partial(index_windows, window_size=size, horizon_minutes=minutes, with_target=False)
    return _Task("windows", sha256_of(path), every_minutes, link, windows, partial(forecast_with_bounds, path))


def _all_days(store: Store) -> Days:
    days = snapshot.first_and_last_day(store, list_keys(store, ""))
    if days is None:
        raise TelemetryError(f"{store.uri}: its telemetry files hold no rows.")
    return days


class _NoSuchLinkError(ConfigError):
    """A link that is not in the telemetry of a day."""


def _predict_days(
    read: Callable[..., TelemetryFrame], days: list[date], task: _Task, sha256: Mapping[date, str], output: Path
) -> list[int | None]:
    """As `_predict_day`, for each day that has the task's link. Raises ConfigError if none has."""
    made, missing = [], ""
    for day in track(days, "Forecasting", "days", len(days)):
        try:
            made.append(_predict_day(read, day, task, sha256, output))
        except _NoSuchLinkError as error:
            missing = str(error)
    if missing and not made:
        raise ConfigError(missing)
    return made


def _predict_day(
    read: Callable[..., TelemetryFrame], day: date, task: _Task, sha256: Mapping[date, str], output: Path
) -> int | None:
    """Forecast from the samples of one day; returns the number of forecasts, None if they were there already."""
    path = day_file(output, day)
    made_from = f"{task.sha256} {task.every_minutes} {task.link} {sha256.get(day - ONE_DAY)} {sha256[day]}".encode()
    if path.is_file() and _made_from(path) == made_from:
        logger.info("%s: is there already", path)
        return None
    with tempfile.TemporaryDirectory(prefix=".frame-", dir=output) as scratch:
        frame = read(partial(mapped_arrays, Path(scratch)), days={str(day - ONE_DAY), str(day)})
        if task.link:
            frame = _of_link(frame, task.link, day)
        with atomic_path(path) as temporary:
            forecasts = _write(_tables(frame, day, task), temporary, made_from)
    logger.info("%s: %s forecasts", path, f"{forecasts:,}")
    return forecasts


def _of_link(frame: TelemetryFrame, link: tuple[int, int], day: date) -> TelemetryFrame:
    """The rows of one link. Raises _NoSuchLinkError."""
    keys = frame.links[list(schema.LINK_KEY)].to_numpy()
    found = np.flatnonzero((keys == link).all(axis=1))
    if not len(found):
        label, *labels = (f"{node}-{peer}" for node, peer in (link, *keys))
        raise _NoSuchLinkError(unknown_link(label, labels, f"on {day}"))
    return frame.of_links(int(found[0]), int(found[0]) + 1)


def _write(tables: Iterator[pa.Table], path: Path, made_from: bytes) -> int:
    """Put the tables, of which there is at least one, one after another into a file; returns their rows."""
    first, rows = next(tables), 0
    with pq.ParquetWriter(path, first.schema.with_metadata({MADE_FROM: made_from}), compression="zstd") as file:
        for table in chain([first], tables):
            file.write_table(table)
            rows += table.num_rows
    return rows


def _tables(frame: TelemetryFrame, day: date, task: _Task) -> Iterator[pa.Table]:
    """The forecasts from the samples of one day, part by part of the fleet."""
    for part in frame.parts(PART_ROWS):
        index = task.index(part)
        last = part.timestamps[index.starts + index.window_size - 1]
        wanted = (last // DAY_SECONDS == (day - date(1970, 1, 1)).days) & (last // 60 % task.every_minutes == 0)
        index = index.take(wanted)
        yield _table(index, task.forecast(index))
        frame.release()


def _table(index: WindowIndex, forecast: Forecast) -> pa.Table:
    frame, last = index.frame, index.starts + index.window_size - 1
    keys = frame.links.iloc[frame.link[last]]
    columns: dict[str, Any] = {name: keys[name].to_numpy() for name in schema.LINK_KEY}
    columns["timestamp"] = frame.timestamps[last]
    columns["forecast_for"] = frame.timestamps[last] + index.horizon_steps * frame.cadence_seconds
    columns |= {f"{name}_utc": pa.array(columns[name]).cast(_UTC) for name in ("timestamp", "forecast_for")}
    bounds = {} if forecast.bounds is None else {"_lower": forecast.bounds.lower, "_upper": forecast.bounds.upper}
    for place, target in enumerate(schema.TARGETS):
        columns |= {f"{target}{end}": values[:, place] for end, values in {"": forecast.output, **bounds}.items()}
    return pa.table(columns)


def _made_from(path: Path) -> bytes | None:
    """What the forecasts of a partition follow from; None if it is not one of ours, or incomplete."""
    try:
        metadata: dict[bytes, bytes] | None = pq.read_schema(path).metadata
    except (pa.ArrowException, OSError):
        return None
    return (metadata or {}).get(MADE_FROM)
