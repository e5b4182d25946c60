"""Files as users have them, read by a mapping: names, units, counters, times, constants and links.

Without a mapping, names are read so:

| in the file | read as |
| --- | --- |
| the schema's names | themselves |
| `bandwidth_mbps`, `latency_ms` | `throughput_mbps`, `rtt_ms` |
| `time`, `unix_time` | `timestamp` (unix seconds, or seconds from any start) |
| `node_id` and `peer_id` | the link; names instead of numbers are numbered in their order |
| `link`, `link_id`, or `node_id` alone | `node_id`, with `peer_id` 0 |
| none of these | all rows are one link |
| anything else | ignored, with a line in the log |

An empty cell is a missing value. Samples closer than a minute become those of the minute; slower ones keep their
cadence, without those that come in between.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.fs

from bwpredict import schema
from bwpredict.core.formatting import count_of
from bwpredict.datasets.file_mapping import LINK, ZONE, FileMapping
from bwpredict.datasets.resampling import (
    Floats,
    Samples,
    apply_functions,
    at_cadence,
    binned,
    estimate_cadence,
    refuse_conflicts,
    sort_samples,
)
from bwpredict.errors import TelemetryError
from bwpredict.telemetry import columns, sources

LATEST_S = 1e11
"""Beyond the year 5138: such a timestamp is in milliseconds."""
RELATIVE_BEFORE_S = 1e8
"""A first timestamp before 1973 is the start of a recording, not a date."""
_DIVISORS = {"unix": 1.0, "unix_ms": 1e3, "unix_us": 1e6}
_NUMERIC = tuple(
    column.name
    for column in schema.COLUMNS
    if column.kind in ("number", "integer") and column.name not in schema.LINK_KEY
)
_TEXTS = tuple(column.name for column in schema.COLUMNS if column.kind in ("category", "text"))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """What files hold, brought to one cadence."""

    samples: Samples
    cadence_seconds: int
    numbers: Mapping[str, int]
    """Number of each node that the files name by a text; empty: they have numbers."""
    zones: npt.NDArray[np.object_] | None
    """[rows], text that stands for the link's time zone; None: the files do not say."""


def read_recording(
    paths: Sequence[Path],
    mapping: FileMapping,
    wanted: Sequence[str] = schema.COLUMN_NAMES,
    *,
    numbers: Mapping[str, int] | None = None,
    dtype: npt.DTypeLike = np.float64,
) -> Recording:
    """Read CSV or Parquet files, or folders of them, with all of the `wanted` columns or a part.

    `numbers` are those of nodes that were named before. `dtype` is that of `samples.values`.

    Raises:
        ConfigError: a time zone is none.
        TelemetryError: names the file, the column and what is wrong: no such file, no timestamp, no target,
            text in a number, infinity, a value out of bounds, or two different rows of one link and timestamp.
    """
    origin = str(paths[0])
    files = [
        sources.open_file(
            pyarrow.fs.LocalFileSystem(), str(each.absolute()), str(each), mapping.aliases(), mapping.csv_format
        )
        for path in paths
        for each in _files(path)
    ]
    found = _common_columns(files, mapping, wanted)
    _report_columns(origin, files[0], found)
    samples, known = _gather(files, found, mapping, numbers or {}, dtype)
    if samples.time.min() < RELATIVE_BEFORE_S:
        logger.warning(
            "%s: times begin in the 1970s: hour and weekday mean nothing. If they count from the start of a recording,"
            " say `start` in a mapping for `bwpredict import`; if not, check its `time_format`.", origin,
        )  # fmt: skip
    samples = sort_samples(_without_empty_columns(samples, origin), origin)
    cadence_s = float(mapping.cadence_seconds or estimate_cadence(samples))
    become_minutes = cadence_s < schema.CADENCE_SECONDS
    if not become_minutes or any(source.function != "none" for source in mapping.columns.values()):
        # Samples of less than a minute may share a time that is written in whole seconds.
        refuse_conflicts(samples, origin)
    samples = apply_functions(samples, mapping, cadence_s)
    if become_minutes:
        logger.info("%s: samples are %.1f s apart; they become means of the minute", origin, cadence_s)
        samples, cadence_s = binned(samples, 60), float(schema.CADENCE_SECONDS)
    else:
        samples = at_cadence(samples, cadence_s, origin)
    zones = samples.attributes.get(mapping.zone_column)
    attributes = {name: values for name, values in samples.attributes.items() if name in _TEXTS}
    return Recording(replace(samples, attributes=attributes), max(1, round(cadence_s)), known, zones)


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise TelemetryError(f"{path}: no such file or folder; expected telemetry as CSV or Parquet.")
    if path.is_file():
        files = [path] if sources.is_telemetry_name(path.name) else []
    else:
        inside = [each for each in sorted(path.rglob("*")) if each.is_file()]
        files = [each for each in inside if sources.is_telemetry_name(each.relative_to(path).as_posix())]
    if not files:
        raise TelemetryError(f"{path}: holds no telemetry; expected {', '.join(sources.FORMATS)} files.")
    return files


def _common_columns(files: list[sources.TelemetryFile], mapping: FileMapping, wanted: Sequence[str]) -> list[str]:
    """The columns that are read, which must be the same in all files, and the constants."""
    known = [*wanted, LINK, *([ZONE] if mapping.zone_column == ZONE else [])]
    found = [name for name in known if name in files[0].found]
    asked = [*mapping.columns, *([mapping.zone_column] if mapping.zone_column else [])]
    for file in files:
        _require_mapped(file, mapping, asked)
        columns.require_columns(file.found, ["timestamp", *found], file.name)
        added = [name for name in known if name in file.found and name not in found]
        if added:
            raise TelemetryError(f"{files[0].name}: lacks the column {added[0]!r} that {file.name} has.")
    if not set(found) & set(schema.TARGETS):
        raise TelemetryError(f"{files[0].name}: has none of the columns to forecast: {', '.join(schema.TARGETS)}.")
    return [*found, *(name for name in mapping.constants if name in known)]


def _require_mapped(file: sources.TelemetryFile, mapping: FileMapping, asked: Sequence[str]) -> None:
    """Raise a TelemetryError about the first column that the mapping names and the file lacks."""
    aliases = {name: column for column, name in mapping.aliases().items()}
    named = {name: aliases[name] for name in asked} | ({"timestamp": mapping.time} if mapping.time else {})
    for name, column in named.items():
        if name not in file.found:
            there = ", ".join(sorted(file.found.values()))
            raise TelemetryError(
                f"{file.name}: lacks the column {column!r}, which is mapped to {name}; it has {there}."
            )


def _report_columns(origin: str, file: sources.TelemetryFile, found: list[str]) -> None:
    renamed = {old: name for name, old in file.found.items() if name != old and name in found}
    if renamed:
        logger.info("%s: read as %s", origin, ", ".join(f"{old} → {name}" for old, name in renamed.items()))
    unknown = [old for name, old in file.found.items() if name not in found]
    if unknown:
        logger.info("%s: columns that the schema does not know are ignored: %s", origin, ", ".join(unknown))


def _gather(
    files: list[sources.TelemetryFile],
    found: list[str],
    mapping: FileMapping,
    known: Mapping[str, int],
    dtype: npt.DTypeLike,
) -> tuple[Samples, dict[str, int]]:
    """All rows in the order of the files, and the numbers of the nodes."""
    features = [name for name in _NUMERIC if name in found]
    names = _link_columns(found)
    texts = [*names, *(name for name in (*_TEXTS, ZONE) if name in found)]
    times, values, labels = [], [], []
    for file in files:
        for table in _tables(file, [*features, *texts], mapping):
            times.append(table["timestamp"].to_numpy())
            matrix = np.empty((table.num_rows, len(features)), dtype=dtype)
            for number, name in enumerate(features):
                matrix[:, number] = table[name].to_numpy()
            values.append(matrix)
            labels.append(table.select(texts))
    rows = sum(len(each) for each in times)
    if rows == 0:
        raise TelemetryError(f"{files[0].name}: holds no rows.")
    text = pa.concat_tables(labels).unify_dictionaries().combine_chunks()
    link, links, numbers = _number_links(text, names, rows, files[0].name, known)
    kept = [name for name in texts if name not in names or name == mapping.zone_column]
    attributes = {name: text[name].to_pandas().to_numpy(dtype=object) for name in kept}
    return Samples(np.concatenate(times), link, np.concatenate(values), features, links, attributes), numbers


def _without_empty_columns(samples: Samples, origin: str) -> Samples:
    """A column without any value is one that the files lack."""
    there = ~np.isnan(samples.values).all(axis=0)
    if there.all():
        return samples
    kept = [name for name, known in zip(samples.features, there, strict=True) if known]
    empty = ", ".join(name for name in samples.features if name not in kept)
    if not set(kept) & set(schema.TARGETS):
        raise TelemetryError(f"{origin}: {empty}: empty in every row, so there is nothing to forecast.")
    logger.warning("%s: %s: empty in every row; read as missing.", origin, empty)
    return replace(samples, features=kept, values=samples.values[:, there])


def _tables(file: sources.TelemetryFile, names: list[str], mapping: FileMapping) -> Iterator[pa.Table]:
    """The file's tables in the schema's units, each number finite and within the bounds of its column."""
    there = [name for name in names if name not in mapping.constants]
    as_text = _time_is_text(file, mapping)
    wanted = {"timestamp": pa.string() if as_text else pa.float64()}
    wanted |= {name: pa.float64() if name in _NUMERIC else columns.TEXT for name in there}
    row = 0
    for table in sources.read_tables(file, wanted):
        made: dict[str, pa.Array] = {name: table[name] for name in there if name not in _NUMERIC}
        seconds = _seconds(file, table["timestamp"], mapping, row)
        kept = np.isfinite(seconds) if as_text else np.ones(len(seconds), dtype=np.bool_)
        made["timestamp"] = _checked(file, "timestamp", np.where(kept, seconds, 0), row)
        for name in (name for name in there if name in _NUMERIC):
            values, counted = table[name].to_numpy(), name in mapping.columns
            function = mapping.columns[name].function if counted else "none"
            if function == "none" and (factor := mapping.factor(name)) != 1:
                values = values * factor
            made[name] = _checked(file, name, values, row, is_amount=function != "none")
        for name in (name for name in names if name in mapping.constants):
            made[name] = _repeated(mapping.constants[name], table.num_rows, is_number=name in _NUMERIC)
        row += table.num_rows
        yield pa.table(made).filter(pa.array(kept))


def _repeated(constant: str | float, rows: int, *, is_number: bool) -> pa.Array:
    if is_number:
        return pa.repeat(pa.scalar(constant, pa.float64()), rows)
    text = constant if isinstance(constant, str) else f"{constant:.12g}"
    return pa.repeat(pa.scalar(text, pa.string()), rows).dictionary_encode()


def _time_is_text(file: sources.TelemetryFile, mapping: FileMapping) -> bool:
    kind = file.types[file.found["timestamp"]]
    local = pa.types.is_timestamp(kind) and kind.tz is None and mapping.times_in != "UTC"
    return mapping.time_format not in _DIVISORS or local


def _seconds(file: sources.TelemetryFile, times: pa.ChunkedArray, mapping: FileMapping, row: int) -> Floats:
    """Unix seconds; NaN where a time is missing, or the clock shows it twice."""
    if times.type == pa.float64():
        stored = file.types[file.found["timestamp"]]
        divisor = 1.0 if pa.types.is_temporal(stored) else _DIVISORS[mapping.time_format]
        seconds: Floats = times.to_numpy() / divisor + (mapping.start.timestamp() if mapping.start else 0.0)
        return seconds
    written = times.to_pandas()
    form = "ISO8601" if mapping.time_format in ("iso", *_DIVISORS) else mapping.time_format
    parsed = pd.to_datetime(written, format=form, errors="coerce", utc=_has_offset(written, form))
    twice = np.zeros(len(parsed), dtype=np.bool_)
    if parsed.dt.tz is None:
        parsed, twice = _localized(parsed, mapping.times_in)
    if (bad := parsed.isna().to_numpy() & ~twice).any():
        at = int(np.argmax(bad))
        raise TelemetryError(
            f"{file.name}: column {file.found['timestamp']!r} holds {written.iloc[at]!r} in {_where(file, row + at)};"
            f" expected a time as {mapping.time_format!r} in {mapping.times_in}."
        )
    if twice.any():
        logger.warning(
            "%s: %s left out, from %s on: the clock of %s shows this hour twice; write times with their offset to keep"
            " them.",
            file.name, count_of(int(twice.sum()), "row"), written[twice].iloc[0], mapping.times_in,
        )  # fmt: skip
    since: pd.Series[pd.Timedelta] = parsed - pd.Timestamp(0, tz="UTC")
    return np.asarray(since.dt.total_seconds(), dtype=np.float64)


def _localized(local: pd.Series[pd.Timestamp], zone: str) -> tuple[pd.Series[pd.Timestamp], npt.NDArray[np.bool_]]:
    """The moments of a zone's clock times, and which are missing because the clock shows the time twice."""
    moments = local.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    first = local.dt.tz_localize(zone, ambiguous=np.ones(len(local), dtype=np.bool_), nonexistent="NaT")
    return moments, (moments.isna() & first.notna()).to_numpy()


def _has_offset(written: pd.Series[str], form: str) -> bool:
    first = str(written.iloc[0]) if len(written) else ""
    return "%z" in form or (form == "ISO8601" and (first.endswith("Z") or "+" in first or first.count("-") > 2))


def _checked(file: sources.TelemetryFile, name: str, values: Floats, row: int, *, is_amount: bool = False) -> Floats:
    """The values, each finite and within the bounds of its column."""
    bad, expected = _out_of_bounds(values, schema.COLUMN[name], is_amount=is_amount)
    if bad.any():
        at = int(np.argmax(bad))
        raise TelemetryError(
            f"{file.name}: column {file.found[name]!r} holds {values[at]:g} in {_where(file, row + at)};"
            f" expected {expected}."
        )
    return values


def _where(file: sources.TelemetryFile, row: int) -> str:
    return f"line {row + 2}" if file.form == "CSV" else f"row {row + 1}"


def _out_of_bounds(values: Floats, column: schema.Column, *, is_amount: bool) -> tuple[npt.NDArray[np.bool_], str]:
    """Which values are out of bounds, and the bounds in words. A missing value (NaN) is not, but for a timestamp."""
    if column.kind == "timestamp":
        return ~((values >= 0) & (values < LATEST_S)), "unix seconds (not milliseconds), never empty"
    if is_amount:
        return np.isinf(values) | (values < 0), "a finite number, 0 or more (a counter or an amount)"
    low, high = column.minimum or 0.0, column.maximum or np.inf
    bounds = f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}"
    unit = f" ({column.unit})" if column.unit else ""
    return np.isinf(values) | (values < low) | (values > high), f"a finite number, {bounds}{unit}"


def _link_columns(found: list[str]) -> list[str]:
    if all(name in found for name in schema.LINK_KEY):
        return list(schema.LINK_KEY)
    single: list[str] = [name for name in (LINK, "node_id") if name in found]
    return single[:1]


def _number_links(
    text: pa.Table, names: list[str], rows: int, origin: str, known: Mapping[str, int]
) -> tuple[npt.NDArray[np.int32], pd.DataFrame, dict[str, int]]:
    """[rows] position of each row's link, the links in ascending (node_id, peer_id), and the numbers of named nodes."""
    if not names:
        return np.zeros(rows, dtype=np.int32), pd.DataFrame([[0, 0]], columns=list(schema.LINK_KEY)), {}
    for name in names:
        if text[name].null_count:
            raise TelemetryError(f"{origin}: column {name!r} is empty in {text[name].null_count} rows.")
    parts = [text[name].combine_chunks() for name in names]
    labels = [part.dictionary.to_pylist() for part in parts]
    numbers = _numbers(sorted({label for each in labels for label in each}), known)
    ids = [
        np.array([numbers[label] for label in each], dtype=np.int64)[part.indices.to_numpy()]
        for each, part in zip(labels, parts, strict=True)
    ]
    node, peer = ids if len(ids) == 2 else (ids[0], np.zeros(rows, dtype=np.int64))
    grouped = pd.MultiIndex.from_arrays([node, peer], names=list(schema.LINK_KEY))
    unique = grouped.unique().sort_values()
    links = unique.to_frame(index=False)
    are_names = any(str(number) != label for label, number in numbers.items())
    if are_names:
        named = {number: label for label, number in numbers.items()}
        shown = list(schema.LINK_KEY)[: len(names)]
        links["name"] = ["-".join(named[each] for each in row) for row in links[shown].itertuples(index=False)]
    return unique.get_indexer(grouped).astype(np.int32), links, numbers if are_names else {}


def _numbers(labels: list[str], known: Mapping[str, int]) -> dict[str, int]:
    """Each label's number: itself if all are whole numbers, else the one it had, or the next in the alphabet."""
    if not known and all(label.isascii() and label.isdigit() and len(label) < 19 for label in labels):
        return {label: int(label) for label in labels}
    first = max(known.values(), default=-1) + 1
    added = [label for label in labels if label not in known]
    return dict(known) | {label: first + place for place, label in enumerate(added)}
