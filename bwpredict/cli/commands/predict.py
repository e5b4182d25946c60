"""The command `predict`: forecasts for a whole telemetry folder or bucket prefix."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.cli.registry_option import AsJson, Model, Registry, open_registry, report, settings_of
from bwpredict.core.link_labels import parse_label
from bwpredict.errors import ConfigError
from bwpredict.store.files import require_local_path

if TYPE_CHECKING:
    from bwpredict.store.base import Store

logger = logging.getLogger(__name__)


def predict(
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for date=YYYY-MM-DD/part-0.parquet; use a separate one with --link.",
            callback=require_local_path,
        ),
    ],
    telemetry: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix (default: $BWPREDICT_TELEMETRY).")] = "",
    onnx: Annotated[Path | None, typer.Option(help="ONNX file (default: the model in production).")] = None,
    registry: Registry = "",
    model: Model = "",
    first_day: Annotated[str, typer.Option(help="First day to forecast from, YYYY-MM-DD (default: all).")] = "",
    last_day: Annotated[str, typer.Option(help="Last day to forecast from (default: --first-day, or all).")] = "",
    link: Annotated[str, typer.Option(help="Only this link, <node_id>-<peer_id> (default: all).")] = "",
    every: Annotated[int, typer.Option(help="Minutes between two forecasts of a link.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Forecast 15 minutes ahead from every sample of the telemetry, and write Parquet partitions by day.

    A model for streams remembers the day before; samples with gaps before them have a forecast too.
    Memory holds about two days of telemetry. Run again after an interruption, it makes only the days that are missing.
    """
    from bwpredict.inference import batch
    from bwpredict.store.factory import open_store

    days = _days(first_day, last_day)
    settings = settings_of(model)
    store = open_store(telemetry or settings.telemetry)
    with tempfile.TemporaryDirectory() as folder:
        path = onnx or _in_production(open_registry(registry, model), Path(folder))
        done = batch.predict(store, path, output, days=days, every_minutes=every, link=_link(link))
    by = "streams" if done.mode == "stream" else "windows"
    there = f"; {done.days_left} days were there already" if done.days_left else ""
    sentence = f"{output}: {done.forecasts:,} forecasts on {done.days} days, by {by}{there}"
    report({"output": output, **asdict(done)}, sentence, as_json=as_json)


def _in_production(store: Store, folder: Path) -> Path:
    """A verified copy of the ONNX file in production: the one for streams, where the version has one."""
    from bwpredict.registry.layout import onnx_name, stream_onnx_name
    from bwpredict.registry.pointer import read_production
    from bwpredict.registry.versions import fetch, read_manifest

    production = read_production(store)
    if production is None:
        raise ConfigError(f"{store.uri}: nothing is in production yet; give --onnx, or publish a model first.")
    version = production.version
    stream = stream_onnx_name(version)
    name = stream if stream in read_manifest(store, version).sha256 else onnx_name(version)
    (path,) = fetch(store, version, [name], folder)
    logger.info("%s: %s is in production", store.uri, production.version)
    return path


def _days(first: str, last: str) -> tuple[date, date] | None:
    if not first and last:
        raise ConfigError("--last-day goes with --first-day.")
    return (_day("--first-day", first), _day("--last-day", last or first)) if first else None


def _link(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    link = parse_label(text)
    if link is None:
        raise ConfigError(f"--link {text}: is not a link; expected <node_id>-<peer_id>, such as 3-17.")
    return link


def _day(option: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{option}={text}: not a day; expected YYYY-MM-DD, for example 2026-10-31.") from error
