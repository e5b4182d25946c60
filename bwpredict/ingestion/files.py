"""`bwpredict import`: convert users' files into daily partitions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bwpredict import schema
from bwpredict.core.progress_bar import track
from bwpredict.datasets.file_mapping import DERIVED, FileMapping
from bwpredict.datasets.recording import Recording, read_recording
from bwpredict.documents import encode_document
from bwpredict.errors import ConflictError, TelemetryError
from bwpredict.ingestion.landing import add_day, day_key, stored_numbers
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of
from bwpredict.telemetry.day_files import partition_date
from bwpredict.telemetry.days import DAY_SECONDS
from bwpredict.telemetry.description import KIND, NAME, Description, read_description

logger = logging.getLogger(__name__)

Document = dict[str, Any]

MANY_GAPS = 0.30
"""Above this share of steps without a sample, links are probably measured in sessions."""


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    days: list[date]
    rows: int
    links: int
    description: Description


def import_files(
    paths: Sequence[Path], mapping: FileMapping, store: Store, *, replace_days: bool = False, now: datetime
) -> Imported:
    """Write the files' rows as `date=<day>/part-0.parquet`, and `telemetry.json` that says what they lack.

    Days that are there with the same rows stay, so an import that was interrupted is run again.

    Args:
        paths: CSV or Parquet files, or folders of them.
        mapping: how they are read.
        store: where the days go.
        replace_days: write days anew that are there with other rows.
        now: the time of the import.

    Raises:
        ConfigError: the mapping names no time zone.
        TelemetryError: as `read_recording`; the store holds telemetry of another kind, or a day with other rows.
        StoreError: as the store.
    """
    before = read_description(store)
    recording = read_recording(paths, mapping, numbers=before["names"] if before else None)
    _check_categories(recording)
    table = _table(recording, zones := _link_zones(recording, mapping))
    description = _describe(recording, mapping, zones)
    days = recording.samples.time // DAY_SECONDS
    found = [int(day) for day in np.unique(days)]
    document = _document(paths, recording, mapping, description, (found[0], found[-1]), now)
    _tell_other_files(document["imports"][0]["files"], mapping)
    _write_description(store, document, before)
    order = np.argsort(days, kind="stable")
    edges = np.append(np.searchsorted(days[order], found), len(days))
    for place, day in track(enumerate(map(partition_date, found)), "Importing", "days", len(found)):
        rows = table.take(pa.array(order[edges[place] : edges[place + 1]]))
        _add(store, day, rows, replace_days=replace_days)
    _tell_gaps(recording, mapping)
    return Imported([partition_date(day) for day in found], table.num_rows, len(recording.samples.links), description)


def _check_categories(recording: Recording) -> None:
    for name, values in recording.samples.attributes.items():
        known = schema.COLUMN[name].categories
        strange = sorted({str(value) for value in values if value is not None and value not in known}) if known else []
        if strange:
            raise TelemetryError(f"column {name!r} holds {strange[0]!r}; expected one of {', '.join(known)}.")


def _link_zones(recording: Recording, mapping: FileMapping) -> list[str]:
    """[links], the time zone of each, as of its latest row."""
    samples = recording.samples
    if recording.zones is None:
        return [mapping.zone_of(None)] * len(samples.links)
    last = np.searchsorted(samples.link, np.arange(len(samples.links)), side="right") - 1
    return [mapping.zone_of(recording.zones[row]) for row in last]


def _table(recording: Recording, zones: list[str]) -> pa.Table:
    """The rows in the schema's types, with the calendar of each link's time zone."""
    samples = recording.samples
    seconds = np.round(samples.time).astype(np.int64)
    if ignored := [name for name in DERIVED[1:] if name in samples.features]:
        logger.info("%s in the files is ignored: it follows from the time.", " and ".join(ignored))
    made: dict[str, Any] = {"timestamp": seconds}
    for name in schema.LINK_KEY:
        made[name] = samples.links[name].to_numpy()[samples.link]
    calendar = np.empty((2, len(seconds)), dtype=np.int64)
    for zone in set(zones):
        rows = np.array([each == zone for each in zones])[samples.link]
        local = schema.Calendar(zone)
        calendar[:, rows] = local.hours(seconds[rows]), local.days(seconds[rows])
    made |= dict(zip(DERIVED[1:], calendar, strict=True))
    for number, name in enumerate(samples.features):
        if name not in DERIVED:
            made[name] = stored_numbers(name, samples.values[:, number])
    made |= {name: pa.array(values, pa.string()) for name, values in samples.attributes.items()}
    return pa.table({name: made[name] for name in schema.COLUMN_NAMES if name in made})


def _describe(recording: Recording, mapping: FileMapping, zones: list[str]) -> Description:
    samples = recording.samples
    there = {*samples.features, *samples.attributes, *schema.LINK_KEY, *DERIVED}
    distinct = set(zones)
    keys = samples.links[list(schema.LINK_KEY)].itertuples(index=False, name=None)
    calendar = (
        schema.Calendar(distinct.pop())
        if len(distinct) == 1 and recording.zones is None
        else schema.Calendar(link_zones=dict(zip(keys, zones, strict=True)))
    )
    return Description(
        tuple(name for name in schema.COLUMN_NAMES if name not in there),
        recording.cadence_seconds,
        mapping.sessions,
        imported=True,
        calendar=calendar,
    )


def _document(
    paths: Sequence[Path],
    recording: Recording,
    mapping: FileMapping,
    description: Description,
    days: tuple[int, int],
    now: datetime,
) -> Document:
    files = [each for path in paths for each in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    done = {
        "files": [{"name": each.name, "sha256": sha256_of(each)} for each in files if each.is_file()],
        "rows": len(recording.samples.time),
        "links": len(recording.samples.links),
        "first_day": partition_date(days[0]).isoformat(),
        "last_day": partition_date(days[1]).isoformat(),
        "imported_at": now.astimezone(UTC).isoformat(timespec="seconds"),
    }
    return description.document() | {
        "mapping": mapping.model_dump(mode="json", exclude_defaults=True),
        "names": dict(recording.numbers),
        "imports": [done],
    }


def _tell_other_files(files: Sequence[Document], mapping: FileMapping) -> None:
    """Warn about files that differ from those that the recipe was tested with."""
    known = mapping.source.files if mapping.source else {}
    for each in files:
        if each["sha256"] != known.get(each["name"], each["sha256"]):
            logger.warning(
                "%s: has another SHA-256 (%.12s…) than the file that the mapping was tried with (%.12s…).",
                each["name"], each["sha256"], known[each["name"]],
            )  # fmt: skip


def _write_description(store: Store, document: Document, before: Document | None) -> None:
    """Add this import to the existing document, which must describe the same kind of telemetry."""
    if before is None:
        if any(store.keys("date=")):
            raise TelemetryError(
                f"{store.uri}: holds days that were not imported; give another --output, or collect into it as before."
            )
        etag = None
    else:
        for name in ("mapping", "absent_columns", "cadence_seconds", "sessions", "time_zone"):
            if before[name] != document[name]:
                raise TelemetryError(
                    f"{store.uri}/{NAME}: {name} is {_words(before[name])} there, but {_words(document[name])} in these"
                    " files; import telemetry of another kind into another --output."
                )
        zones = {(node, peer): zone for node, peer, zone in before["link_time_zones"] + document["link_time_zones"]}
        # Earlier imports, without those of the same files, which this import replaces.
        others = [each for each in before["imports"] if each["files"] != document["imports"][0]["files"]]
        document |= {
            "link_time_zones": [[*link, zone] for link, zone in sorted(zones.items())],
            "imports": [*others, *document["imports"]],
        }
        etag = store.read(NAME)[1]
    store.write(NAME, encode_document(KIND, document, name=f"{store.uri}/{NAME}"), if_etag=etag)


def _words(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | dict) else str(value)


def _add(store: Store, day: date, rows: pa.Table, *, replace_days: bool) -> None:
    try:
        add_day(store, day, rows)
    except ConflictError as error:
        if not replace_days:
            raise TelemetryError(
                f"{store.uri}/{day_key(day)}: exists with other rows; import all files of a day together,"
                " or give --replace to overwrite it."
            ) from error
        store.delete(day_key(day))
        add_day(store, day, rows)
    logger.info("%s: %s rows", day, f"{rows.num_rows:,}")


def _tell_gaps(recording: Recording, mapping: FileMapping) -> None:
    samples = recording.samples
    first = np.searchsorted(samples.link, np.arange(len(samples.links)))
    last = np.append(first[1:], len(samples.link)) - 1
    expected = float((np.round((samples.time[last] - samples.time[first]) / recording.cadence_seconds) + 1).sum())
    share = 1 - len(samples.time) / expected
    if share > MANY_GAPS and not mapping.sessions:
        logger.warning(
            "%.0f %% of the links' steps of %d s hold no sample, which validation refuses; if links are measured in"
            " sessions, say `sessions: true` in the mapping.",
            100 * share, recording.cadence_seconds,
        )  # fmt: skip
