"""Find the telemetry files in a store that cover a span of time, and read their rows in batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.fs

from bwpredict.errors import TelemetryError
from bwpredict.store.base import Store
from bwpredict.telemetry import columns
from bwpredict.telemetry.input_guards import TextCheck, check_rows
from bwpredict.telemetry.read_errors import translate_read_errors

LATE_DAYS = 1
"""A late row is at most this many days' partitions after the day of its timestamp."""

FORMATS = {".parquet": "Parquet", ".csv": "CSV", ".csv.gz": "CSV"}
# Without "nan": validation has to see it as a number, not as a missing value.
NULL_VALUES = ["", "null", "NULL", "None", "NA", "N/A"]
BATCH_ROWS = 131_072
# Batches read ahead of the consumer: Arrow's own default of 16 holds half a gigabyte of telemetry.
READ_AHEAD = 4
PIECE_ROWS = 1 << 19
"""Of a Parquet file, scanned at once."""
BLOCK_BYTES = 1 << 22
"""Of a CSV, parsed at once."""
HEADER_BYTES = 1 << 16
"""Of a CSV, read to find the names of its columns."""
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class TelemetryKey:
    """The key of a telemetry file in its store; `day` is its `date=` partition, None if it has none."""

    key: str
    day: date | None


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV is written."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    missing: tuple[str, ...] = ()
    """Texts that stand for a missing value, beside `NULL_VALUES`."""


@dataclass(frozen=True)
class TelemetryFile:
    """An opened telemetry file: `found` maps schema names to the names in the file."""

    filesystem: pyarrow.fs.FileSystem
    key: str
    name: str
    """The file's name in error messages."""
    form: str
    found: dict[str, str]
    types: dict[str, pa.DataType]
    """Types as stored, by the names in the file (CSV: all text)."""
    csv: CsvFormat = CsvFormat()


def list_keys(store: Store, prefix: str) -> list[TelemetryKey]:
    """All telemetry files under `prefix` (a folder, or one file's key), by partition and key.

    Names that begin with `.` or `_`, and their folders, are not telemetry.

    Raises:
        StoreUnreachableError: the store does not answer, or refuses bucket or credentials.
        TelemetryError: there is no telemetry file.
    """
    folder = prefix.strip("/")
    # Ask the store first: its errors say what to check. Arrow then lists without hashing files.
    anything = next(iter(store.keys(folder)), None)
    found = [_partitioned(key) for key in _keys(store, folder) if _is_telemetry(key, folder)] if anything else []
    if not found:
        raise TelemetryError(
            f"{display_uri(store, prefix)}: holds no telemetry; expected {', '.join(FORMATS)} files,"
            " flat or in date=YYYY-MM-DD folders."
        )
    return sorted(found, key=lambda item: (item.day or date.min, item.key))


def keys_in_span(keys: list[TelemetryKey], start: datetime, end: datetime) -> list[TelemetryKey]:
    """The files that can hold rows of [start, end): partitions up to `LATE_DAYS` later, and those without one."""
    first, last = start.date(), (end - timedelta(seconds=1)).date() + timedelta(days=LATE_DAYS)
    return [item for item in keys if item.day is None or first <= item.day <= last]


def display_uri(store: Store, prefix: str) -> str:
    """The place as messages show it: the store's URI and the prefix."""
    return f"{store.uri.rstrip('/')}/{prefix.strip('/')}".rstrip("/")


def is_telemetry_name(name: str) -> bool:
    """Whether a file with this name, or path below the telemetry's folder, is read as telemetry."""
    hidden = any(part.startswith((".", "_")) for part in PurePosixPath(name).parts)
    return not hidden and _form(name) is not None


def open_file(
    filesystem: pyarrow.fs.FileSystem, key: str, name: str, aliases: Mapping[str, str], csv: CsvFormat = CsvFormat()
) -> TelemetryFile:
    """Look at the file's columns; `aliases` maps other names to those of the schema.

    Raises:
        TelemetryError: it is corrupt, or two of its columns mean the same.
    """
    form = _form(key) or "Parquet"
    with translate_read_errors(name, form):
        stored = _header(key, filesystem, csv) if form == "CSV" else _parquet().inspect(key, filesystem)
        names = stored.names  # Arrow detects here whether they are text.
    found = columns.resolve_columns(names, aliases, name)
    return TelemetryFile(filesystem, key, name, form, found, dict(zip(names, stored.types, strict=True)), csv)


def read_tables(
    file: TelemetryFile, wanted: Mapping[str, pa.DataType], span: tuple[int, int] | None = None
) -> Iterator[pa.Table]:
    """The wanted columns of the file under their schema names and types, in the file's order.

    `span` [first, past the last) in unix seconds leaves out rows of other times.

    Raises:
        TelemetryError: the file is corrupt, lacks a column, or holds a value of the wrong type, a harmful text, or
            too many rows.
        SnapshotError: the file has gone.
    """
    columns.require_columns(file.found, wanted, file.name)
    tables = _read_csv(file, wanted) if file.form == "CSV" else _read_parquet(file, wanted, span)
    rows, check_texts = 0, TextCheck(file.name)
    for table in tables:
        rows += table.num_rows
        check_rows(rows, file.name)
        check_texts(table)
        yield table if span is None else _between(table, span, file.name)


def _read_parquet(
    file: TelemetryFile, wanted: Mapping[str, pa.DataType], span: tuple[int, int] | None
) -> Iterator[pa.Table]:
    time = file.found.get("timestamp")
    rows = None
    if span and time and pa.types.is_integer(file.types[time]):
        field = pyarrow.dataset.field(time)
        # A missing timestamp must come through, so that it is reported and not dropped.
        rows = ((field >= span[0]) & (field < span[1])) | field.is_null()
    types = {name: columns.TEXT if pa.types.is_string(kind) else kind for name, kind in file.types.items()}
    for table in _scan_parquet(file, wanted, types, rows):
        yield _cast(table, wanted, file, None)


def _read_csv(file: TelemetryFile, wanted: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    done = 0
    try:
        for table in _scan_csv(file, wanted, {file.found[name]: kind for name, kind in wanted.items()}):
            yield _cast(table, wanted, file, None)
            done += table.num_rows
    except TelemetryError as error:
        if not isinstance(error.__cause__, pa.ArrowInvalid):
            raise
        # Some value is not of its column's type: read on as text, value by value, to accept or to name it.
        yield from _read_csv_text(file, wanted, done)


def _read_csv_text(file: TelemetryFile, wanted: Mapping[str, pa.DataType], done: int) -> Iterator[pa.Table]:
    line = 2
    for table in _scan_csv(file, wanted, dict.fromkeys(file.types, pa.string())):
        skip = min(max(0, done + 2 - line), table.num_rows)
        yield _cast(table.slice(skip), wanted, file, line + skip)
        line += table.num_rows


def _scan_csv(
    file: TelemetryFile, wanted: Mapping[str, pa.DataType], types: Mapping[str, pa.DataType]
) -> Iterator[pa.Table]:
    """The wanted columns, read as `types` (by the names in the file)."""
    with (
        translate_read_errors(file.name, file.form),
        _text_stream(file.filesystem, file.key, file.csv.encoding) as stream,
        # Not read as a dataset, whose scanner takes 1.5 times as long.
        pyarrow.csv.open_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pyarrow.csv.ParseOptions(delimiter=file.csv.separator),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=[file.found[name] for name in wanted],
                null_values=[*NULL_VALUES, *file.csv.missing],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                decimal_point=file.csv.decimal,
            ),
        ) as batches,
    ):
        for table in _joined(batches):
            yield table.rename_columns(list(wanted))


def _scan_parquet(
    file: TelemetryFile,
    wanted: Mapping[str, pa.DataType],
    types: Mapping[str, pa.DataType],
    rows: pyarrow.dataset.Expression | None,
) -> Iterator[pa.Table]:
    """The wanted columns, read as `types` (by the names in the file)."""
    with translate_read_errors(file.name, file.form):
        # With the schema given, Arrow does not open the file a second time to find it.
        stored = pa.schema(list(types.items()))
        dataset = pyarrow.dataset.dataset(file.key, filesystem=file.filesystem, format=_parquet(types), schema=stored)
        check_rows(sum(fragment.metadata.num_rows for fragment in dataset.get_fragments()), file.name)
        chosen = {name: pyarrow.dataset.field(file.found[name]) for name in wanted}
        for piece in _pieces(dataset):
            batches = piece.to_batches(
                columns=chosen, filter=rows, batch_size=BATCH_ROWS, batch_readahead=READ_AHEAD, schema=stored
            )
            yield from _joined(batches)


def _pieces(dataset: pyarrow.dataset.Dataset) -> Iterator[pyarrow.dataset.Fragment]:
    """The file, some row groups at a time, since Arrow keeps the bytes of a scan until its end."""
    for fragment in dataset.get_fragments():
        held: list[int] = []
        rows = 0
        for group in fragment.row_groups:
            held, rows = [*held, group.id], rows + group.num_rows
            if rows >= PIECE_ROWS:
                yield fragment.subset(row_group_ids=held)
                held, rows = [], 0
        if held:
            yield fragment.subset(row_group_ids=held)


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches, small ones together: a CSV comes in blocks of some thousand rows."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if 2 * sum(each.num_rows for each in held) >= BATCH_ROWS:
            yield pa.Table.from_batches(held).unify_dictionaries()
            held = []
    if held:
        yield pa.Table.from_batches(held).unify_dictionaries()


def _cast(table: pa.Table, wanted: Mapping[str, pa.DataType], file: TelemetryFile, line: int | None) -> pa.Table:
    how = file.name, line, file.csv.decimal
    return pa.table({name: columns.cast_column(table[name], kind, name, *how) for name, kind in wanted.items()})


def _between(table: pa.Table, span: tuple[int, int], name: str) -> pa.Table:
    time = table["timestamp"]
    if time.null_count:
        raise TelemetryError(f"{name}: column 'timestamp' is empty in {time.null_count} rows; every row needs one.")
    if table.num_rows == 0:
        return table
    seconds = time.to_numpy()
    inside = (seconds >= span[0]) & (seconds < span[1])
    return table if inside.all() else table.filter(pa.array(inside))


def _text_stream(filesystem: pyarrow.fs.FileSystem, key: str, encoding: str) -> pa.NativeFile:
    """The file's text as UTF-8."""
    stream = filesystem.open_input_stream(key)
    return stream if encoding == "utf-8" else pa.transcoding_input_stream(stream, encoding, "utf-8")


def _header(key: str, filesystem: pyarrow.fs.FileSystem, csv: CsvFormat) -> pa.Schema:
    """The names of a CSV's columns, without their types."""
    with _text_stream(filesystem, key, csv.encoding) as stream:
        first = _LINE_END.split(stream.read(HEADER_BYTES), maxsplit=1)[0]
    options = pyarrow.csv.ParseOptions(delimiter=csv.separator)
    return pyarrow.csv.read_csv(pa.BufferReader(first + b"\n"), parse_options=options).schema


def _parquet(types: Mapping[str, pa.DataType] | None = None) -> pyarrow.dataset.ParquetFileFormat:
    text = [name for name, kind in (types or {}).items() if kind == columns.TEXT]
    return pyarrow.dataset.ParquetFileFormat(dictionary_columns=text)


def _keys(store: Store, folder: str) -> list[str]:
    filesystem = store.arrow_filesystem()
    with translate_read_errors(display_uri(store, folder), "telemetry"):
        itself = filesystem.get_file_info(folder)
        if itself.is_file:
            return [folder]
        selector = pyarrow.fs.FileSelector(folder, allow_not_found=True, recursive=True)
        return [info.path for info in filesystem.get_file_info(selector) if info.is_file]


def _partitioned(key: str) -> TelemetryKey:
    match = re.search(r"(?:^|/)date=([^/]*)/", key)
    try:
        return TelemetryKey(key, date.fromisoformat(match[1]) if match else None)
    except ValueError as error:
        raise TelemetryError(f"{key}: the partition is not a calendar day; expected date=YYYY-MM-DD.") from error


def _is_telemetry(key: str, folder: str) -> bool:
    if folder and key != folder and not key.startswith(folder + "/"):
        return False
    path = PurePosixPath(key)
    return is_telemetry_name(path.name if key == folder else path.relative_to(folder).as_posix())


def _form(name: str) -> str | None:
    return next((form for suffix, form in FORMATS.items() if name.lower().endswith(suffix)), None)
