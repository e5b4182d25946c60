"""Copy a window of telemetry from the store, and pin the objects that were read, so that it can be repeated."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bwpredict import schema
from bwpredict.documents import write_document
from bwpredict.errors import ConfigError, ObjectMissingError, SnapshotError, TelemetryError
from bwpredict.store.base import ObjectInfo, Store
from bwpredict.store.files import sha256_of
from bwpredict.telemetry import sources
from bwpredict.telemetry.day_copy import CopyStatistics, copy_days
from bwpredict.telemetry.day_files import day_file, partition_date
from bwpredict.telemetry.days import DAY_SECONDS
from bwpredict.telemetry.description import Description, read_description
from bwpredict.telemetry.months import month_of

CONTRACT_VERSION = 1
"""Increase it when the columns change, or how a snapshot transforms rows: the same id must mean the same rows."""

TELEMETRY_FOLDER = "telemetry"
SNAPSHOT_FILE = "snapshot.json"

logger = logging.getLogger(__name__)


def take_snapshot(store: Store, prefix: str, start: datetime, end: datetime, work: Path) -> dict[str, Any]:
    """Copy the telemetry of [start, end) into `work / "telemetry"` and pin it in `work / "snapshot.json"`.

    Reads Parquet and CSV under `prefix` (see `sources`), old column names too; removes exact duplicates;
    leaves out the columns that the `telemetry.json` under `prefix` calls absent;
    sorts by (node_id, peer_id, timestamp). Values are kept as they are, missing and infinite ones too: judging
    them is validation's part. Memory is bounded, however long the window and however many rows a day has.

    Returns:
        The snapshot document.

    Raises:
        ConfigError: the window is empty, or not made of whole UTC days.
        TelemetryError: the last month is empty, a file is corrupt, lacks a column or holds a wrong value, or the disk
            is too full for the copy.
        SnapshotError: an object changed while it was read.
        StoreUnreachableError: the store does not answer, or refuses bucket or credentials.
    """
    _check_window(start, end)
    found = sources.list_keys(store, prefix)
    return _copy(store, prefix, (start, end), found, work)


def verify(store: Store, snapshot: dict[str, Any]) -> None:
    """Raise a SnapshotError that names the first pinned object that has changed, if any."""
    _check_unchanged(store, [ObjectInfo(each["key"], each["size_bytes"], each["etag"]) for each in snapshot["objects"]])


def restore(store: Store, snapshot: dict[str, Any], work: Path) -> dict[str, Any]:
    """Read exactly the pinned objects again, into `work`, and check the rows against the snapshot's digest.

    Returns:
        The new snapshot document, equal to the old one but for where it was read from.

    Raises:
        SnapshotError: an object changed, or the rows are not those of the snapshot.
    """
    verify(store, snapshot)
    window = (datetime.fromisoformat(snapshot["start"]), datetime.fromisoformat(snapshot["end"]))
    keys = {pinned["key"] for pinned in snapshot["objects"]}
    found = [item for item in sources.list_keys(store, snapshot["prefix"]) if item.key in keys]
    return _copy(store, snapshot["prefix"], window, found, work, expected=snapshot)


def check_content(snapshot: dict[str, Any], telemetry: Path) -> None:
    """Raise a SnapshotError that names the first file of `telemetry` that is not the one the snapshot describes."""
    for day in snapshot["days"]:
        path = day_file(telemetry, date.fromisoformat(day["date"]))
        if not path.is_file() or sha256_of(path) != day["sha256"]:
            raise SnapshotError(f"{path}: is not the file that snapshot {snapshot['snapshot_id'][:12]} describes.")


def _copy(
    store: Store,
    prefix: str,
    window: tuple[datetime, datetime],
    found: list[sources.TelemetryKey],
    work: Path,
    expected: dict[str, Any] | None = None,
) -> dict[str, Any]:
    objects = {item: store.info(item.key) for item in sources.keys_in_span(found, *window)}
    description = Description.read(read_description(store, prefix))
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=work) as name:
        scratch = Path(name)
        try:
            tally = copy_days(store, list(objects), window, scratch / TELEMETRY_FOLDER, scratch, description.absent)
            _check_last_month(store, prefix, window[1], tally, found)
        except TelemetryError:
            # A file that was replaced during the read often looks corrupt; report the replacement instead.
            _check_unchanged(store, objects.values())
            raise
        except OSError as error:  # An error of a write; errors of reads name their file.
            raise TelemetryError(
                f"{work}: cannot be written ({error.strerror or error}); free some space and run again."
            ) from error
        # A file without rows of the window is not pinned, such as tomorrow's partition, which is still being written.
        pinned = [info for info in objects.values() if tally.rows_of[info.key]]
        _check_unchanged(store, pinned)
        described = {"description": description.document()} if description.imported else {}
        document = _document(store, prefix, window, pinned, tally, described)
        if expected is not None:
            _check_same(document, expected)
        _install(scratch / TELEMETRY_FOLDER, work, document)
    rows, links, name = (document[key] for key in ("rows", "links", "snapshot_id"))
    logger.info("%s rows of %s links, snapshot %s", f"{rows:,}", f"{links:,}", name)
    return document


def _document(
    store: Store,
    prefix: str,
    window: tuple[datetime, datetime],
    objects: list[ObjectInfo],
    tally: CopyStatistics,
    described: dict[str, Any],
) -> dict[str, Any]:
    days = sorted(tally.days, key=lambda day: str(day["date"]))
    present = {day["date"] for day in days}
    return {
        "snapshot_id": _snapshot_id(window, objects, described),
        "contract_version": CONTRACT_VERSION,
        "start": window[0].isoformat(),
        "end": window[1].isoformat(),
        "telemetry_uri": sources.display_uri(store, prefix),
        "prefix": prefix,
        "objects": [{**_pin(info), "rows": tally.rows_of[info.key]} for info in objects],
        "rows": sum(day["rows"] for day in days),
        "links": len(tally.links),
        "duplicates_removed": sum(day["duplicates_removed"] for day in days),
        "conflicting_rows": sum(day["conflicting_rows"] for day in days),
        "late_rows": sum(day["late_rows"] for day in days),
        "misplaced_rows": sum(tally.misplaced_of.values()),
        "nulls": {name: count for name, count in tally.nulls.items() if count},
        "non_finite": {name: count for name, count in tally.non_finite.items() if count},
        "columns_renamed": tally.renamed,
        "months_found": sorted({day["date"][:7] for day in days}),
        "missing_days": [day for day in _days_of(window) if day not in present],
        "days": days,
        "telemetry_sha256": _digest([(day["date"], day["sha256"]) for day in days]),
        **described,
    }


def _snapshot_id(window: tuple[datetime, datetime], objects: list[ObjectInfo], described: dict[str, Any]) -> str:
    """A digest of everything that determines the rows, and of nothing else, such as times or paths."""
    return _digest(
        {
            "contract_version": CONTRACT_VERSION,
            "columns": list(schema.COLUMN_NAMES),
            "start": window[0].isoformat(),
            "end": window[1].isoformat(),
            "objects": [_pin(info) for info in sorted(objects, key=lambda each: each.key)],
            **described,
        }
    )


def _pin(info: ObjectInfo) -> dict[str, Any]:
    """The fields by which a changed object is recognized; the store's clock is none of them."""
    return {"key": info.key, "size_bytes": info.size_bytes, "etag": info.etag}


def _install(telemetry: Path, work: Path, document: dict[str, Any]) -> None:
    """Move the finished folder into place. `snapshot.json` is written last; without it, the folder is ignored."""
    (work / SNAPSHOT_FILE).unlink(missing_ok=True)
    if (work / TELEMETRY_FOLDER).exists():
        shutil.rmtree(work / TELEMETRY_FOLDER)
    telemetry.rename(work / TELEMETRY_FOLDER)
    write_document(work / SNAPSHOT_FILE, "snapshot", document)


def _check_window(start: datetime, end: datetime) -> None:
    aware = start.utcoffset() == end.utcoffset() == timedelta(0)
    if not aware or start >= end or start.timestamp() % DAY_SECONDS or end.timestamp() % DAY_SECONDS:
        raise ConfigError(f"the window {start} to {end}: expected whole days in UTC, the first before the last.")


def _check_last_month(
    store: Store, prefix: str, end: datetime, tally: CopyStatistics, found: list[sources.TelemetryKey]
) -> None:
    month = month_of(end - timedelta(seconds=1))
    if any(day["date"].startswith(month) for day in tally.days):
        return
    where, there = sources.display_uri(store, prefix), first_and_last_day(store, found)
    instead = f"it holds {there[0]} to {there[1]}" if there else "its files hold no rows"
    raise TelemetryError(f"month={month}: {where} holds no telemetry of that month; {instead}.")


def first_and_last_day(store: Store, found: list[sources.TelemetryKey]) -> tuple[date, date] | None:
    """Of all rows there: in files without a partition, and in the first and the last partition."""
    partitions = [item.day for item in found if item.day]
    seconds: list[int] = []
    for item in found:
        if item.day is None or item.day in (min(partitions), max(partitions)):
            file = sources.open_file(
                store.arrow_filesystem(), item.key, sources.display_uri(store, item.key), schema.OLD_NAMES
            )
            for table in sources.read_tables(file, {"timestamp": pa.int64()}):
                seconds += [each for each in pc.min_max(table["timestamp"]).as_py().values() if each is not None]
    return (
        (partition_date(min(seconds) // DAY_SECONDS), partition_date(max(seconds) // DAY_SECONDS)) if seconds else None
    )


def _check_unchanged(store: Store, pinned: Iterable[ObjectInfo]) -> None:
    for then in pinned:
        name = sources.display_uri(store, then.key)
        try:
            now = store.info(then.key)
        except ObjectMissingError as error:
            raise SnapshotError(
                f"{name}: was deleted after it was read for this snapshot; take the snapshot again."
            ) from error
        if now != then:
            raise SnapshotError(
                f"{name}: has changed since it was read for this snapshot (ETag {then.etag}, {then.size_bytes} bytes;"
                f" now {now.etag}, {now.size_bytes} bytes); take the snapshot again."
            )


def _check_same(document: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in ("snapshot_id", "telemetry_sha256"):
        if document[key] != expected[key]:
            raise SnapshotError(
                f"snapshot {expected['snapshot_id']}: its objects are unchanged, but {key} is now {document[key]}"
                f" and was {expected[key]}; it was written by another version of bwpredict or PyArrow."
            )


def _days_of(window: tuple[datetime, datetime]) -> list[str]:
    return [f"{window[0] + timedelta(days=number):%Y-%m-%d}" for number in range((window[1] - window[0]).days)]


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
