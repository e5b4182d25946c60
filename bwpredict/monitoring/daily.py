"""One day of telemetry, scored: production, and in shadow the version before it and a canary.

Writes `monitoring/days/<day>.json` into the registry's store, once: a day that is there is not scored again, so the
time series never changes under those who read it.
"""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.config import DEFAULT_MODEL
from bwpredict.datasets.frame import TelemetryFrame, load_frame
from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex, index_windows
from bwpredict.documents import decode_document, encode_document, read_document
from bwpredict.errors import ConfigError, ConflictError, ModelError, ObjectMissingError, StoreError, TelemetryError
from bwpredict.evaluation.coverage import coverage
from bwpredict.evaluation.forecasts import Array, Forecasts, collect
from bwpredict.inference.onnx_model import Bounds, forecast, forecast_with_bounds
from bwpredict.monitoring import accuracy, prometheus, seasonal, sequential_tests
from bwpredict.monitoring.days import day_key, read_day
from bwpredict.registry.layout import metadata_name, onnx_name
from bwpredict.registry.pointer import Candidate, Production, read_production
from bwpredict.registry.versions import fetch
from bwpredict.store.base import Store
from bwpredict.telemetry import snapshot, sources
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.months import month_window

logger = logging.getLogger(__name__)

Document = dict[str, Any]

MAX_WINDOWS = 100_000
"""Windows that are scored, evenly spread over links and time."""
LOOK_BACK_DAYS = 31
"""The evidence of a version continues from its latest document within this many days."""


def monitor_day(store: Store, telemetry: Store, day: date, work: Path, *, now: datetime) -> Document:
    """The document (kind `monitoring_day`) of a UTC day, made and written if it is not there yet.

    Args:
        store: the registry's.
        telemetry: the telemetry's.
        work: folder for downloaded models, which stay, and telemetry, which does not.

    Raises:
        ConfigError: the day is not over yet, or nothing is in production.
        TelemetryError: no telemetry of that day, or none that makes a window.
        ModelError: the model in production cannot be run.
    """
    if (known := read_day(store, day)) is not None:
        logger.info("%s was scored on %s; it stays as it is.", day, known["scored_at"])
        return known
    if _end(day) > now:
        raise ConfigError(f"{day}: is not over yet (UTC); choose an earlier day.")
    production = read_production(store)
    if production is None:
        raise ConfigError(f"{store.uri}: nothing is in production, so there is nothing to monitor.")
    models = work / "models"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".monitor-", dir=work) as scratch:
        frame, pinned = _load(telemetry, day, Path(scratch))
        scored = _score(store, production, frame, day, models)
        reference = _reference(store, telemetry, production, day, Path(scratch))
    document = _document(store, production, scored, frame, reference, day, models, now)
    document["telemetry"] |= {name: pinned[name] for name in ("snapshot_id", "objects")}
    return _write(store, day, document)


def summary(document: Document) -> str:
    """The day in one sentence a line, for logs and the command line."""
    produced = document["production"]["version"]
    figures = document["models"]["production"]["per_target"]
    wapes = ", ".join(
        f"{name} {figures[name]['wape_percent']:.3g} %" for name in schema.TARGETS if figures[name]["wape_percent"]
    )
    lines = [f"{document['day']}: {produced}, {document['telemetry']['windows']:,} windows; WAPE {wapes}."]
    moved = [name for name, one in document["drift"]["per_feature"].items() if one["verdict"] in ("moved", "drifted")]
    if moved:
        lines.append(f"Drift against the same weekdays and hours of training: {', '.join(moved)}.")
    lines += [alarm_sentence(test) for test in document["tests"] if test["alarm"]]
    if canary := document["canary"]:
        lines.append(f"Canary {canary['version']} on {canary['share']:.0%} of the links: {canary['verdict']}.")
    return "\n".join(lines)


def alarm_sentence(test: Document) -> str:
    """One alarm in words."""
    kind, _, target = test["id"].partition(".")
    value = "unknown" if test["value"] is None else f"{test['value']:.3f}"
    return (
        f"ALARM: the {kind} of {target} is {value}, tolerated {test['tolerated']:.3f} (reference"
        f" {test['reference']:.3f}), since {test['short_since']};"
        f" evidence {test['total']:,.0f} of {test['threshold']:,.0f}."
    )


def publish_metrics(document: Document, path: Path | None, gateway: str, *, model: str = DEFAULT_MODEL) -> None:
    """Write the day's Prometheus metrics to a file, push them to a gateway, or both, where they are given.

    Each model has a file of its own: that of another than the default has its name before the suffix.

    Raises:
        ConfigError, StoreUnreachableError: as `exposition.push`.
    """
    if path:
        own = path if model == DEFAULT_MODEL else path.with_stem(f"{path.stem}__{model}")
        prometheus.write_textfile(document, own, model=model)
    if gateway:
        prometheus.push(document, gateway, model=model)


@dataclass(frozen=True)
class _Scored:
    """What the models forecast for the day's windows."""

    forecasts: Forecasts
    bounds: Bounds | None
    versions: dict[str, str]
    """Role ("production", "previous", "canary") → version."""
    problems: dict[str, str]
    """Role → why it could not be run, in a sentence."""


def _score(store: Store, production: Production, frame: TelemetryFrame, day: date, models: Path) -> _Scored:
    contract = read_document(_model_file(store, production.version, models, metadata_name), "model_metadata")[
        "contract"
    ]
    index = _windows_of(index_windows(frame, contract["window_size"], contract["horizon_minutes"]), day)
    served = forecast_with_bounds(_model_file(store, production.version, models, onnx_name), index)
    outputs: dict[str, Array] = {"production": served.output}
    candidate = production.candidate
    shadows = {"previous": production.previous, "canary": candidate.version if candidate else None}
    versions = {"production": production.version} | {role: name for role, name in shadows.items() if name}
    problems: dict[str, str] = {}
    for role, version in shadows.items():
        if version:
            try:
                outputs[role] = forecast(_model_file(store, version, models, onnx_name), index)
            except (ModelError, StoreError, ConfigError) as error:
                problems[role] = str(error)
                logger.warning("%s is not scored in shadow: %s", version, error)
    return _Scored(collect(index, outputs), served.bounds, versions, problems)


def _windows_of(index: WindowIndex, day: date) -> WindowIndex:
    times = index.frame.timestamps[index.target_rows]
    first, past = _span(day)
    index = index.take((times >= first) & (times < past))
    if len(index) == 0:
        raise TelemetryError(f"{day}: no link has a window with a target on this day; check the telemetry for gaps.")
    return index.spread(MAX_WINDOWS)


def _load(telemetry: Store, day: date, scratch: Path) -> tuple[TelemetryFrame, Document]:
    """The day, with the day before it for the windows that begin there, and the snapshot of both."""
    found = {item.day for item in sources.list_keys(telemetry, "")}
    if day not in found and None not in found:
        days = sorted(one for one in found if one)
        raise TelemetryError(f"{day}: {telemetry.uri} has no partition of this day; it holds {days[0]} to {days[-1]}.")
    return _pulled(telemetry, day, 2, scratch / "day")


def _pulled(telemetry: Store, last: date, days: int, folder: Path) -> tuple[TelemetryFrame, Document]:
    """This many days, the last one included, by way of `folder`, and their snapshot."""
    pinned = snapshot.take_snapshot(telemetry, "", _end(last) - timedelta(days=days), _end(last), folder)
    frame = load_frame(folder / snapshot.TELEMETRY_FOLDER, description=Description.of_snapshot(pinned))
    return frame, pinned


def _reference(
    store: Store, telemetry: Store, production: Production, day: date, scratch: Path
) -> dict[str, Any] | None:
    """The same weekdays of the month that the version was trained for; None where that telemetry is gone."""
    key = f"monitoring/references/{production.version}_{day:%a}.json".lower()
    with suppress(ObjectMissingError):
        return decode_document("monitoring_reference", store.read(key)[0], name=f"{store.uri}/{key}")
    start, end = month_window(production.month)
    there = {item.day for item in sources.list_keys(telemetry, "")}
    days = [start.date() + timedelta(days=n) for n in range((end - start).days)]
    chosen = [one for one in days if one.weekday() == day.weekday() and one in there]
    made = []
    for one in chosen:
        folder = scratch / f"reference-{one}"
        made.append(seasonal.measure(_pulled(telemetry, one, 1, folder)[0], _span(one)))
    if not made:
        logger.warning("the telemetry of %s is gone, so drift is not measured.", production.month)
        return None
    document = {
        "version": production.version,
        "month": production.month,
        "days": [one.isoformat() for one in chosen],
        "histograms": seasonal.merge(made),
    }
    with suppress(ConflictError):  # another run wrote the same document
        store.write(key, encode_document("monitoring_reference", document, name=key), if_etag=None)
    return document


def _document(
    store: Store,
    production: Production,
    scored: _Scored,
    frame: TelemetryFrame,
    reference: dict[str, Any] | None,
    day: date,
    models: Path,
    now: datetime,
) -> Document:
    forecasts = scored.forecasts
    per_model: Document = {
        role: {
            "version": version,
            "problem": scored.problems.get(role),
            "per_target": None if role in scored.problems else accuracy.figures(forecasts, role),
        }
        for role, version in scored.versions.items()
    }
    held = coverage(forecasts, scored.bounds) if scored.bounds else None
    covered = held and {
        "level": held["level"],
        "per_target": {name: figure["coverage"] for name, figure in held["per_target"].items()},
    }
    before = _before(store, day, production.version)
    compared = read_document(_model_file(store, production.version, models, lambda _: "comparison.json"), "comparison")
    published = {name: figure["skill"] for name, figure in compared["models"]["challenger"]["per_target"].items()}
    judged = sequential_tests.evaluate_production(
        per_model["production"]["per_target"],
        covered,
        published,
        day=day.isoformat(),
        windows=len(forecasts),
        before=before,
    )
    alarm = any(test["alarm"] for test in judged)
    return {
        "day": day.isoformat(),
        "scored_at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "production": {"version": production.version, "month": production.month, "since": production.promoted_at},
        "telemetry": _telemetry(frame, len(forecasts), day),
        "staleness": _staleness(production, frame, day),
        "models": per_model,
        "coverage": covered,
        "drift": {
            "reference_days": reference["days"] if reference else [],
            "per_feature": seasonal.drift(seasonal.measure(frame, _span(day)), reference),
        },
        "tests": judged,
        "canary": _canary(production.candidate, scored, per_model, before),
        "alarm": alarm,
        "alarm_began": alarm and not (before and before["alarm"]),
    }


def _canary(
    candidate: Candidate | None, scored: _Scored, per_model: dict[str, Any], before: Document | None
) -> Document | None:
    if candidate is None:
        return None
    earlier = before["canary"] if before else None
    if earlier and (earlier["version"], earlier["since"]) != (candidate.version, candidate.since):
        earlier = None
    rows = accuracy.canary_rows(scored.forecasts, candidate.share)
    runs = "canary" not in scored.problems
    arms = {
        "production": _arm(scored.forecasts, "production", ~rows),
        "canary": _arm(scored.forecasts, "canary", rows) if runs else None,
    }
    figures = per_model["canary"]["per_target"]
    ratio = accuracy.log_error_ratio(figures, per_model["production"]["per_target"]) if runs else None
    return {
        "version": candidate.version,
        "share": candidate.share,
        "since": candidate.since,
        "arms": arms,
        "log_error_ratio": ratio,
        **sequential_tests.evaluate_canary(ratio, len(scored.forecasts), earlier),
    }


def _arm(forecasts: Forecasts, model: str, rows: accuracy.Rows) -> Document:
    """What the links of one arm got."""
    return {
        "links": len(np.unique(forecasts.link[rows])),
        "windows": int(rows.sum()),
        "per_target": accuracy.figures(forecasts, model, rows) if rows.any() else None,
    }


def _telemetry(frame: TelemetryFrame, windows: int, day: date) -> Document:
    first, past = _span(day)
    inside = (frame.timestamps >= first) & (frame.timestamps < past)
    links = len(np.unique(frame.link[inside]))
    expected = links * DAY_SECONDS / frame.cadence_seconds
    rows = int(inside.sum())
    return {
        "rows": rows,
        "links": links,
        "windows": windows,
        "completeness": min(1.0, rows / expected) if expected else 0.0,
    }


def _staleness(production: Production, frame: TelemetryFrame, day: date) -> Document:
    """How old, at the end of the day, the model, its training data and the last sample were."""
    end = _end(day)
    trained_until = month_window(production.month)[1]
    return {
        "model_age_days": _days(end - datetime.fromisoformat(production.promoted_at)),
        "training_data_age_days": _days(end - trained_until),
        "last_sample_age_minutes": round((end.timestamp() - int(frame.timestamps.max())) / 60, 1),
    }


def _days(age: timedelta) -> float:
    return round(max(timedelta(), age) / timedelta(days=1), 2)


def _before(store: Store, day: date, version: str) -> Document | None:
    """The latest earlier document about the same version."""
    for back in range(1, LOOK_BACK_DAYS + 1):
        document = read_day(store, day - timedelta(days=back))
        if document:
            return document if document["production"]["version"] == version else None
    return None


def _write(store: Store, day: date, document: Document) -> Document:
    try:
        store.write(day_key(day), encode_document("monitoring_day", document, name=day_key(day)), if_etag=None)
    except ConflictError:  # another run was faster: keep its document
        return read_day(store, day) or document
    return document


def _model_file(store: Store, version: str, models: Path, name: Any) -> Path:
    (path,) = fetch(store, version, [name(version)], models / version)
    return path


def _end(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _span(day: date) -> tuple[int, int]:
    """[first, past the last) unix second of the UTC day."""
    past = int(_end(day).timestamp())
    return past - DAY_SECONDS, past
