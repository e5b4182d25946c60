"""Write telemetry: the partitioned Parquet layout, the oracle beside it, and the guide's single CSV."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.core.progress_bar import track
from bwpredict.errors import ConfigError
from bwpredict.simulation import simulator
from bwpredict.simulation.collection_faults import deliver
from bwpredict.simulation.fleet import MINUTES_PER_DAY, FleetConfig
from bwpredict.simulation.probe import LABELS, TELEMETRY_SCHEMA, to_table
from bwpredict.simulation.simulator import LinkDay, Simulation
from bwpredict.store.files import atomic_path

ORACLE_SCHEMA = pa.schema(
    [(name, pa.int64()) for name in (*schema.LINK_KEY, "timestamp")]
    + [(f"oracle_{name}", pa.float64()) for name in schema.TARGETS]
)

_ENCODINGS = {pa.int64(): "DELTA_BINARY_PACKED", pa.float64(): "BYTE_STREAM_SPLIT"}
_COUNTERS = {"bytes_tx", "bytes_rx", "retransmits", "congestion_window", "queue_depth"}

_PLAIN_SCHEMA = pa.schema([(column.name, column.arrow_type) for column in schema.COLUMNS])
_CSV_OPTIONS = pyarrow.csv.WriteOptions(quoting_style="none", quoting_header="none")
_CSV_LINKS, _CSV_MINUTES, _CSV_START = 20, 3000, date(2026, 10, 1)
MAX_SAMPLES = 100_000_000


def write_partitioned(
    config: FleetConfig,
    folder: Path,
    *,
    oracle: bool = False,
    oracle_folder: Path | None = None,
    horizon_minutes: int = schema.HORIZON_MINUTES,
) -> Path:
    """Write `folder/date=YYYY-MM-DD/part-0.parquet` for each day, and return `folder`.

    Rows are sorted by link and time, except for late rows and second copies, which come at the end of each group of
    links; late rows of the next day's delivery are in that day's partition as `late-0.parquet`, also
    for the last day. Each file is written atomically; the same config gives the same bytes.

    With `oracle`, `oracle_folder` (default: `oracle` beside `folder`) gets files of the same names:
    node_id, peer_id, timestamp (of the last sample that is known) and oracle_<target>, the conditional
    median of the target `horizon_minutes` later given the hidden states. No forecast from the
    telemetry can be expected to have a smaller mean absolute error.

    Raises:
        ConfigError: `horizon_minutes` is not from 1 to 60.
    """
    if not 1 <= horizon_minutes <= 60:
        raise ConfigError(f"horizon_minutes: must be from 1 to 60 (given: {horizon_minutes}).")
    forecasts = (oracle_folder or folder.parent / "oracle") if oracle else None
    simulation = Simulation(config)
    days = range(config.first_day, config.first_day + config.days)
    for day in track(days, "Generating", "days", config.days):
        _write_day(simulation, day, folder, forecasts, horizon_minutes)
    return folder


def write_csv(samples: int, seed: int, output: Path, *, start: date = _CSV_START) -> Path:
    """Write one CSV of `samples` rows in order of time (`.csv`, or `.csv.gz`), and return `output`.

    It holds one link for each 3,000 samples, at least 1 and at most 20.

    Raises:
        ConfigError: `samples` or `seed` is out of bounds, or `output` has another suffix.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise ConfigError(f"samples: must be from 1 to {MAX_SAMPLES} (given: {samples}).")
    if not output.name.endswith((".csv", ".csv.gz")):
        raise ConfigError(f"{output}: the output must end in .csv or .csv.gz.")
    links = min(max(samples // _CSV_MINUTES, 1), _CSV_LINKS)
    days = -(-samples // (links * MINUTES_PER_DAY))
    config = FleetConfig(links=links, days=days, start=start, seed=seed)
    simulation, left = Simulation(config), samples
    with (
        atomic_path(output) as temporary,
        _csv_sink(temporary, compress=output.suffix == ".gz") as sink,
        pyarrow.csv.CSVWriter(sink, _PLAIN_SCHEMA, write_options=_CSV_OPTIONS) as writer,
    ):
        for day in range(config.first_day, config.first_day + days):
            # At most 20 links: one chunk. Transposed, the rows are sorted by time, then link.
            (chunk,) = simulation.chunks(day)
            flat = {name: values.T.ravel()[:left] for name, values in chunk.columns.items()}
            writer.write_table(to_table(flat).cast(_PLAIN_SCHEMA))
            left -= len(flat["timestamp"])
    return output


def _write_day(simulation: Simulation, day: int, folder: Path, forecasts: Path | None, horizon_minutes: int) -> None:
    config, late = simulation.config, []
    with ExitStack() as files:
        rows = files.enter_context(_parquet(_partition(folder, day) / "part-0.parquet", TELEMETRY_SCHEMA))
        ahead = forecasts and files.enter_context(
            _parquet(_partition(forecasts, day) / "part-0.parquet", ORACLE_SCHEMA)
        )
        for chunk in simulation.chunks(day):
            today, tomorrow = _delivered(config, chunk)
            rows.write_table(today)
            late.append(tomorrow)
            if ahead:
                ahead.write_table(_oracle_table(chunk, config.regime, horizon_minutes))
    if sum(table.num_rows for table in late):
        with _parquet(_partition(folder, day + 1) / "late-0.parquet", TELEMETRY_SCHEMA) as file:
            file.write_table(pa.concat_tables(late))


def _delivered(config: FleetConfig, chunk: LinkDay) -> tuple[pa.Table, pa.Table]:
    """The chunk's rows that arrive on their day, and on the day after."""
    flat = {name: values.ravel() for name, values in chunk.columns.items()}
    if not (config.gap_share or config.late_share or config.duplicate_share):
        return to_table(flat), TELEMETRY_SCHEMA.empty_table()
    delivery = deliver(config, chunk.first_link, len(chunk.links.index), chunk.day)
    today, tomorrow = (
        to_table({name: values[rows] for name, values in flat.items()}) for rows in (delivery.today, delivery.tomorrow)
    )
    return today, tomorrow


def _oracle_table(chunk: LinkDay, regime: str, horizon_minutes: int) -> pa.Table:
    forecast = simulator.oracle(chunk, regime, horizon_minutes)
    keys = [chunk.columns[name].ravel() for name in (*schema.LINK_KEY, "timestamp")]
    return pa.table([*keys, *(values.ravel() for values in forecast.values())], schema=ORACLE_SCHEMA)


def _partition(folder: Path, day: int) -> Path:
    return folder / f"date={date(1970, 1, 1) + timedelta(days=day)}"


@contextmanager
def _parquet(path: Path, arrow_schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer whose file appears, whole, when the block succeeds."""
    encodings = {field.name: _ENCODINGS[field.type] for field in arrow_schema if field.type in _ENCODINGS}
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary,
            arrow_schema,
            # Packed counters do not compress further: skipping compression saves a third of the time.
            compression={name: "none" if name in _COUNTERS else "zstd" for name in arrow_schema.names},
            compression_level={name: 1 for name in arrow_schema.names if name not in _COUNTERS},
            use_dictionary=list(LABELS),
            column_encoding=encodings,
            write_statistics=["timestamp"],
            # Without Arrow's own schema, text written from dictionaries reads back as text.
            store_schema=False,
        ) as writer,
    ):
        yield writer


@contextmanager
def _csv_sink(path: Path, *, compress: bool) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with path.open("wb") as file:
        if not compress:
            yield file
            return
        # No name and no time in the header, so that the same rows give the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped:
            yield zipped
