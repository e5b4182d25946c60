"""Telemetry from anywhere, for `bwpredict train --data-path`: the columns it has, under the names it has.

How names are read:

| in the file | read as |
| --- | --- |
| the schema's names | themselves |
| `bandwidth_mbps`, `latency_ms` | `throughput_mbps`, `rtt_ms` |
| `time`, `unix_time` | `timestamp` (unix seconds, or seconds from any start) |
| `node_id` and `peer_id` | the link; names instead of numbers are numbered in their order |
| `link`, `link_id`, or `node_id` alone | `node_id`, with `peer_id` 0 |
| none of these | all rows are one link |
| anything else | ignored, with a line in the log |

What is missing:

- `time_of_day` and `day_of_week` follow from `timestamp` by `schema.CALENDAR`.
- Any other feature is `FILL_VALUES[feature]` in every row: a constant, so that the model can learn nothing from it.
- An empty cell is a missing sample: no window contains it.

Samples closer than a minute become means of the minute; slower ones keep their cadence.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.fs

from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.resampling import CALENDAR_FEATURES, Samples, estimate_cadence, minute_means, sort_samples
from bwpredict.errors import TelemetryError
from bwpredict.telemetry import columns, sources

NAMES: dict[str, str] = {**schema.OLD_NAMES, "time": "timestamp", "unix_time": "timestamp", "link_id": "link"}
"""Other names of columns, read as the schema's (`link` stands for the pair)."""

FILL_VALUES: dict[str, float] = {name: 0.0 for name in schema.FEATURES if name not in CALENDAR_FEATURES}
"""What stands in every row for a feature that the source lacks."""

LATEST_S = 1e11
"""Beyond the year 5138: such a timestamp is in milliseconds."""
RELATIVE_BEFORE_S = 1e8
"""A first timestamp before 1973 is the start of a recording, not a date."""

Floats = npt.NDArray[np.float64]
logger = logging.getLogger(__name__)


def read_data_path(path: Path, *, aggregate: bool = True) -> TelemetryFrame:
    """Read a CSV or Parquet file, or a folder of them, with all of the schema's columns or a part.

    `filled` of the result lists the features that are missing (absent targets among them) with their constant.
    With `aggregate=False`, samples closer than a minute keep their own cadence.

    Raises:
        TelemetryError: names the file, the column and what is wrong: no such file, no timestamp, no target,
            text in a number, infinity, a value out of bounds, or two different rows of one link and timestamp.
    """
    files = [
        sources.open_file(pyarrow.fs.LocalFileSystem(), str(each.absolute()), str(each), NAMES) for each in _files(path)
    ]
    found = _common_columns(files)
    _report_columns(path, files[0], found)
    samples = sort_samples(_gather(files, found), str(path))
    cadence_s = estimate_cadence(samples)
    if cadence_s < schema.CADENCE_SECONDS and aggregate:
        logger.info("%s: samples are %.1f s apart; they become means of the minute", path, cadence_s)
        samples, cadence_s = minute_means(samples), float(schema.CADENCE_SECONDS)
    return _frame(samples, max(1, round(cadence_s)))


def missing_features(frame: TelemetryFrame) -> list[str]:
    """One sentence for each feature that the source lacks, for people."""
    return [
        f"{name} is missing; it is {constant:g} in every row{' and is not forecast' if name in schema.TARGETS else ''}."
        for name, constant in (frame.filled or {}).items()
    ]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise TelemetryError(f"{path}: no such file or folder; expected telemetry as CSV or Parquet.")
    if path.is_file():
        files = [path] if sources.is_telemetry_name(path.name) else []
    else:
        files = [
            each
            for each in sorted(path.rglob("*"))
            if each.is_file()
            and sources.is_telemetry_name(each.name)
            and not any(part.startswith((".", "_")) for part in each.relative_to(path).parts)
        ]
    if not files:
        raise TelemetryError(f"{path}: holds no telemetry; expected {', '.join(sources.FORMATS)} files.")
    return files


def _common_columns(files: list[sources.TelemetryFile]) -> list[str]:
    """The known columns, which must be the same in all files."""
    known = [*schema.COLUMN_NAMES, "link"]
    found = [name for name in known if name in files[0].found]
    for file in files:
        columns.require_columns(file.found, ["timestamp", *found], file.name)
        added = [name for name in known if name in file.found and name not in found]
        if added:
            raise TelemetryError(f"{files[0].name}: lacks the column {added[0]!r} that {file.name} has.")
    if not set(found) & set(schema.TARGETS):
        raise TelemetryError(f"{files[0].name}: has none of the columns to forecast: {', '.join(schema.TARGETS)}.")
    return found


def _report_columns(path: Path, file: sources.TelemetryFile, found: list[str]) -> None:
    renamed = {old: name for name, old in file.found.items() if name != old and name in found}
    if renamed:
        logger.info("%s: read as %s", path, ", ".join(f"{old} → {name}" for old, name in renamed.items()))
    unknown = [old for name, old in file.found.items() if name not in found]
    if unknown:
        logger.info("%s: columns that the schema does not know are ignored: %s", path, ", ".join(unknown))


def _gather(files: list[sources.TelemetryFile], found: list[str]) -> Samples:
    features = [name for name in schema.FEATURES if name in found]
    names = _link_columns(found)
    texts = [*names, *(name for name in schema.LINK_ATTRIBUTES if name in found)]
    wanted = {name: pa.float64() for name in ("timestamp", *features)} | dict.fromkeys(texts, columns.TEXT)
    times, values, labels = [], [], []
    for file in files:
        for table in _checked(file, wanted):
            times.append(table["timestamp"].to_numpy())
            values.append(_matrix(table, features))
            labels.append(table.select(texts))
    rows = sum(len(each) for each in times)
    if rows == 0:
        raise TelemetryError(f"{files[0].name}: holds no rows.")
    text = pa.concat_tables(labels).unify_dictionaries().combine_chunks()
    link, links = _number_links(text, names, rows, files[0].name)
    attributes = {name: text[name].to_pandas().to_numpy(dtype=object) for name in texts if name not in names}
    return Samples(np.concatenate(times), link, np.concatenate(values), features, links, attributes)


def _checked(file: sources.TelemetryFile, wanted: dict[str, pa.DataType]) -> Iterator[pa.Table]:
    """The file's tables, each number finite and within the bounds of its column."""
    row = 0
    for table in sources.read_tables(file, wanted):
        for name in (name for name, kind in wanted.items() if kind == pa.float64()):
            values = table[name].to_numpy()
            bad, expected = _out_of_bounds(values, schema.COLUMN[name])
            if bad.any():
                at = int(np.argmax(bad))
                where = f"line {row + at + 2}" if file.form == "CSV" else f"row {row + at + 1}"
                raise TelemetryError(
                    f"{file.name}: column {file.found[name]!r} holds {values[at]:g} in {where}; expected {expected}."
                )
        row += table.num_rows
        yield table


def _out_of_bounds(values: Floats, column: schema.Column) -> tuple[npt.NDArray[np.bool_], str]:
    """Which values are out of bounds, and the bounds in words. A missing value (NaN) is not, but for a timestamp."""
    if column.kind == "timestamp":
        return ~((values >= 0) & (values < LATEST_S)), "unix seconds (not milliseconds), never empty"
    low, high = column.minimum or 0.0, column.maximum or np.inf
    bounds = f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}"
    unit = f" ({column.unit})" if column.unit else ""
    return np.isinf(values) | (values < low) | (values > high), f"a finite number, {bounds}{unit}"


def _matrix(table: pa.Table, features: list[str]) -> npt.NDArray[np.float32]:
    matrix = np.empty((table.num_rows, len(features)), dtype=np.float32)
    for number, name in enumerate(features):
        matrix[:, number] = table[name].to_numpy()
    return matrix


def _link_columns(found: list[str]) -> list[str]:
    if all(name in found for name in schema.LINK_KEY):
        return list(schema.LINK_KEY)
    single: list[str] = [name for name in ("link", "node_id") if name in found]
    return single[:1]


def _number_links(
    text: pa.Table, names: list[str], rows: int, origin: str
) -> tuple[npt.NDArray[np.int32], pd.DataFrame]:
    """[rows] position of each row's link, and the links in ascending (node_id, peer_id)."""
    if not names:
        return np.zeros(rows, dtype=np.int32), pd.DataFrame([[0, 0]], columns=list(schema.LINK_KEY))
    for name in names:
        if text[name].null_count:
            raise TelemetryError(f"{origin}: column {name!r} is empty in {text[name].null_count} rows.")
    parts = [text[name].combine_chunks() for name in names]
    labels = [part.dictionary.to_pylist() for part in parts]
    numbers = _numbers(sorted({label for each in labels for label in each}))
    ids = [
        np.array([numbers[label] for label in each], dtype=np.int64)[part.indices.to_numpy()]
        for each, part in zip(labels, parts, strict=True)
    ]
    node, peer = ids if len(ids) == 2 else (ids[0], np.zeros(rows, dtype=np.int64))
    grouped = pd.MultiIndex.from_arrays([node, peer], names=list(schema.LINK_KEY))
    unique = grouped.unique().sort_values()
    links = unique.to_frame(index=False)
    if any(str(number) != label for label, number in numbers.items()):
        named = {number: label for label, number in numbers.items()}
        shown = list(schema.LINK_KEY)[: len(names)]
        links["name"] = ["-".join(named[each] for each in row) for row in links[shown].itertuples(index=False)]
    return unique.get_indexer(grouped).astype(np.int32), links


def _numbers(labels: list[str]) -> dict[str, int]:
    """Each label's number: itself if all are whole numbers, its place in the alphabet otherwise."""
    if all(label.isascii() and label.isdigit() and len(label) < 19 for label in labels):
        return {label: int(label) for label in labels}
    return {label: place for place, label in enumerate(labels)}


def _frame(samples: Samples, cadence_s: int) -> TelemetryFrame:
    timestamps = np.round(samples.time).astype(np.int64)
    derived = {
        "time_of_day": schema.CALENDAR.hours(timestamps),
        "day_of_week": schema.CALENDAR.days(timestamps),
    }
    if timestamps[0] < RELATIVE_BEFORE_S:
        logger.warning("timestamps count from the start of a recording: hour and weekday mean nothing here")
    values = np.empty((len(timestamps), len(schema.FEATURES)), dtype=np.float32)
    filled = {}
    for number, name in enumerate(schema.FEATURES):
        if name in samples.features:
            values[:, number] = samples.values[:, samples.features.index(name)]
            if name in derived and (values[:, number] != derived[name]).any():
                logger.warning("%s does not agree with timestamp: %s", name, schema.CALENDAR.sentence)
        elif name in derived:
            values[:, number] = derived[name]
        else:
            values[:, number] = filled[name] = FILL_VALUES[name]
    frame = TelemetryFrame(values, timestamps, samples.link, _with_attributes(samples), cadence_s, filled)
    for sentence in (*missing_features(frame), *_empty_cells(frame)):
        logger.warning("%s", sentence)
    return frame


def _empty_cells(frame: TelemetryFrame) -> Iterator[str]:
    for name, missing in zip(schema.FEATURES, np.isnan(frame.values).sum(axis=0), strict=True):
        if missing:
            yield f"{name} is empty in {missing:,} of {frame.rows:,} rows; no window contains them."


def _with_attributes(samples: Samples) -> pd.DataFrame:
    """The links with their attributes as of their latest sample."""
    last = np.searchsorted(samples.link, np.arange(len(samples.links)), side="right") - 1
    return samples.links.assign(**{name: text[last] for name, text in samples.attributes.items()})
