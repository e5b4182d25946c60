"""Validate in shards of some days each, on any worker, and merge the results.

What a shard gives is a document and the results of Great Expectations, in a folder of its own. Counts, histograms
and the links' quartiles of each day add up exactly, so the result does not depend on how days are split into shards.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.config import Engine
from bwpredict.core.formatting import undefined_as_none
from bwpredict.datasets.anomalies import Levels, levels_of_rows, merge_levels
from bwpredict.documents import read_document, write_document
from bwpredict.errors import SnapshotError, TelemetryError
from bwpredict.profiling.batches import ROWS_PER_BATCH, Batch, batches, group_batches, partitions, parts_of_day
from bwpredict.profiling.profile import Profile, measure_day, merge
from bwpredict.store.files import sha256_of
from bwpredict.telemetry.days import DAY_SECONDS
from bwpredict.telemetry.description import Description
from bwpredict.validation.expectations import READABLE, SCHEMA_SUITE, Check, schema_checks
from bwpredict.validation.gx_runner import EXAMPLES, Outcome, Session, merge_outcomes, not_evaluated
from bwpredict.validation.spark import checkable, spark_batches

MAX_SHARDS = 400
"""At most this many tasks. With more days, a shard has several."""
SHARD = "shard.json"
RESULTS = "results"


class ShardResult(NamedTuple):
    """The merged results of all shards."""

    outcomes: list[Outcome]
    """Of the schema suite and of the check that all days can be read."""
    profile: Profile
    levels: Levels


def plan_shards(
    telemetry: Path, snapshot: dict[str, Any], *, rows: int = ROWS_PER_BATCH, engine: Engine = "pandas"
) -> list[list[str]]:
    """Days (YYYY-MM-DD) of each shard, in order: those on disk, and those that the snapshot lists.

    For Spark, all days are one shard: it distributes the rows itself.
    """
    days = sorted({day for day, _ in partitions(telemetry)} | {day["date"] for day in snapshot.get("days", ())})
    if engine == "spark":
        return [days]
    groups = group_batches(telemetry, days, rows=rows)
    several = max(1, -(-len(groups) // MAX_SHARDS))
    shards = [list(chain(*groups[first : first + several])) for first in range(0, len(groups), several)]
    return shards or [[]]


def check_shard(
    telemetry: Path,
    snapshot: dict[str, Any],
    days: Sequence[str],
    folder: Path,
    *,
    rows: int = ROWS_PER_BATCH,
    engine: Engine = "pandas",
) -> Path:
    """Run the schema suite on these days and measure them: writes `folder`, and returns the `shard.json` in it.

    A day that cannot be read, is missing or is not the one that the snapshot pins is named in the document, and the
    others are checked. On Spark, days are read and measured here first, a batch at a time.

    Raises:
        ConfigError: the engine cannot be used here.
    """
    shutil.rmtree(folder, ignore_errors=True)
    pinned = {day["date"]: day["sha256"] for day in snapshot.get("days", ())}
    unreadable: dict[str, str] = {}
    profiles: list[Profile] = []
    levels: list[Levels] = []

    def read(path: Path, most: int) -> Iterator[pd.DataFrame]:
        day = path.name.removeprefix("date=")
        try:
            for part in _pinned_parts(path, pinned.get(day), most):
                measured = beside.submit(measure_day, day, part)
                yield part
                profiles.append(measured.result())
        except TelemetryError as error:
            unreadable[day] = str(error)

    def watched(frames: Iterable[Batch]) -> Iterator[Batch]:
        for batch in frames:
            measured = beside.submit(_day_levels, batch.frame)
            yield batch
            del batch  # Not kept while the next one is made.
            levels.extend(measured.result())

    description = Description.of_snapshot(snapshot)
    checks = schema_checks(*snapshot_period(snapshot), description)
    # Great Expectations keeps one core busy with Python; measuring is NumPy and Arrow, which release the lock.
    with ThreadPoolExecutor(1) as beside:
        frames = watched(batches(telemetry, days, rows=rows, read=read, description=description))
        if engine == "pandas":
            outcomes = Session(folder / RESULTS).run(SCHEMA_SUITE, checks, frames)
        else:
            deque(frames, maxlen=0)
            readable = [day for day in days if day not in unreadable]
            outcomes = _on_spark(checks, spark_batches(telemetry, readable, description), folder / RESULTS)
    document = {
        "days": list(days),
        "unreadable": unreadable,
        "outcomes": [_outcome_document(outcome) for outcome in outcomes],
        "profile": merge(profiles),
        "levels": _levels_document(merge_levels(levels)),
    }
    return write_document(folder / SHARD, "validation_shard", document)


def _on_spark(checks: Sequence[Check], frames: Iterable[Batch], results: Path) -> list[Outcome]:
    """The outcomes over all frames. The suite for each frame contains only the checks that its columns can answer."""
    outcomes: list[Outcome] = []
    for batch in frames:
        answered = [check for check in checks if checkable(check, batch.frame)]
        found = Session(results, engine="spark").run(SCHEMA_SUITE, answered, [batch], every=checks)
        outcomes = merge_outcomes(outcomes, found)
    return outcomes or not_evaluated(checks)


def merge_shards(shards: Iterable[Path], snapshot: dict[str, Any], results: Path) -> ShardResult:
    """Merge the shards' documents, given in order of time, and copy their results into the folder `results`."""
    checks = schema_checks(*snapshot_period(snapshot), Description.of_snapshot(snapshot))
    outcomes: list[Outcome] = []
    unreadable: dict[str, str] = {}
    profiles, levels, days = [], [], 0
    for path in shards:
        document = read_document(path, "validation_shard")
        if len(document["unreadable"]) < max(1, len(document["days"])):
            found = [_outcome(*pair) for pair in zip(checks, document["outcomes"], strict=True)]
            outcomes = merge_outcomes(outcomes, found)
        unreadable |= document["unreadable"]
        days += len(document["days"])
        profiles.append(document["profile"])
        levels.append(_levels(document["levels"]))
        if (path.parent / RESULTS).is_dir():
            shutil.copytree(path.parent / RESULTS, results, dirs_exist_ok=True)
    return ShardResult(
        [_readable(unreadable, days), *(outcomes or not_evaluated(checks))], merge(profiles), merge_levels(levels)
    )


def shard_summary(shard: Path) -> str:
    """A shard's result, in short: "2026-10-04: 2 errors"."""
    document = read_document(shard, "validation_shard")
    failed = sum(not outcome["passed"] for outcome in document["outcomes"]) + len(document["unreadable"])
    days = document["days"]
    name = "no days" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"{name}: {failed} failed" if failed else f"{name}: passed"


def snapshot_period(snapshot: dict[str, Any]) -> tuple[datetime, datetime]:
    """[start, end) in UTC of the snapshot.

    Raises:
        SnapshotError: the document lacks start, end or rows.
    """
    if missing := [name for name in ("start", "end", "rows") if name not in snapshot]:
        raise SnapshotError(f"the snapshot document lacks {', '.join(missing)}; take the snapshot again.")
    start, end = (datetime.fromisoformat(snapshot[name]) for name in ("start", "end"))
    return _in_utc(start), _in_utc(end)


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _pinned_parts(folder: Path, sha256: str | None, rows: int) -> Iterator[pd.DataFrame]:
    """Read a day in parts, and check the file against its digest if there is one."""
    if not any(folder.glob("*.parquet")):
        raise TelemetryError(f"{folder}: is missing; take the snapshot again.")
    _hold_against(folder, sha256)
    yield from parts_of_day(folder, rows)
    # Checked again after reading, to detect a file that was replaced meanwhile.
    _hold_against(folder, sha256)


def _hold_against(folder: Path, sha256: str | None) -> None:
    if sha256 is not None and [sha256_of(path) for path in sorted(folder.glob("*.parquet"))] != [sha256]:
        raise TelemetryError(f"{folder}: is not what was read for this snapshot; take the snapshot again.")


def _readable(unreadable: dict[str, str], days: int) -> Outcome:
    """The outcome of the check that all days can be read."""
    told = "; ".join(f"{day}: {reason.rstrip('.')}" for day, reason in list(unreadable.items())[:EXAMPLES])
    more = f"; and {len(unreadable) - EXAMPLES} more" if len(unreadable) > EXAMPLES else ""
    return Outcome(
        READABLE, evaluated=True, passed=not unreadable, observed=told + more, unexpected=len(unreadable), total=days
    )


def _outcome_document(outcome: Outcome) -> dict[str, Any]:
    fields = {name: value for name, value in vars(outcome).items() if name != "check"}
    return {"check": outcome.check.id, **fields, "examples": list(outcome.examples)}


def _outcome(check: Check, document: dict[str, Any]) -> Outcome:
    fields = {name: value for name, value in document.items() if name != "check"}
    return Outcome(check, **{**fields, "examples": tuple(document["examples"])})


def _day_levels(frame: pd.DataFrame) -> list[Levels]:
    """The levels of each day. Missing values and text are ignored here, since other checks report them."""
    names = ("timestamp", *schema.LINK_KEY, *schema.TARGETS)
    there = [name for name in names if name in frame and pd.api.types.is_numeric_dtype(frame[name])]
    columns = {
        name: frame[name].to_numpy("float64", na_value=np.nan) if name in there else np.full(len(frame), np.nan)
        for name in names
    }
    known = np.logical_and.reduce([np.isfinite(columns[name]) for name in names[:3]])
    time, node, peer = (columns[name][known].astype(np.int64) for name in names[:3])
    values = np.stack([columns[name][known] for name in schema.TARGETS]).T
    return levels_of_rows(time, node, peer, values, DAY_SECONDS)


def _levels_document(levels: Levels) -> dict[str, Any]:
    """The levels as JSON, which has neither NaN nor infinity: None stands for either, as the field implies."""
    return {
        "links": [list(link) for link in levels.links],
        "starts": list(levels.starts),
        "samples": levels.samples.tolist(),
        **{name: _finite(getattr(levels, name)) for name in ("minimum", "maximum", "quartiles")},
    }


def _levels(document: dict[str, Any]) -> Levels:
    links, starts = tuple((node, peer) for node, peer in document["links"]), tuple(document["starts"])
    shape = (len(links), len(schema.TARGETS))
    return Levels(
        links,
        starts,
        np.array(document["samples"], dtype=np.int64).reshape(shape),
        _filled(document["minimum"], np.inf).reshape(shape),
        _filled(document["maximum"], -np.inf).reshape(shape),
        _filled(document["quartiles"], np.nan).reshape(len(starts), *shape, 3),
    )


def _finite(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [undefined_as_none(value) for value in values.ravel().tolist()]


def _filled(values: list[float | None], unknown: float) -> npt.NDArray[np.float64]:
    return np.array([unknown if value is None else value for value in values], dtype=np.float64)
