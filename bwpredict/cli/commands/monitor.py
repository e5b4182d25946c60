"""The command line's `bwpredict monitor`."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from bwpredict.cli.registry_option import AsJson, Model, Registry, open_registry, print_json, settings_of
from bwpredict.config import DEFAULT_MODEL
from bwpredict.errors import ConfigError

logger = logging.getLogger(__name__)


def monitor(
    day: Annotated[str, typer.Option(help="UTC day, YYYY-MM-DD (default: yesterday).")] = "",
    telemetry: Annotated[str, typer.Option(help="Store with the telemetry (default: $BWPREDICT_TELEMETRY).")] = "",
    registry: Registry = "",
    model: Model = "",
    work: Annotated[Path | None, typer.Option(help="Folder for models and scratch (default: $BWPREDICT_WORK).")] = None,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Write Prometheus metrics to this file (default: $BWPREDICT_METRICS_FILE).")
    ] = None,
    push: Annotated[str, typer.Option(help="URL of a Pushgateway (default: $BWPREDICT_PUSHGATEWAY).")] = "",
    alert: Annotated[
        bool, typer.Option("--alert", help="Send alarms and recoveries to $BWPREDICT_ALERT_URLS.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score a day with the production model, the previous one and the canary. Exit code 1 on an alarm."""
    from bwpredict.alerting import model_alarms
    from bwpredict.monitoring.daily import monitor_day, publish_metrics, summary
    from bwpredict.store.factory import open_store

    settings, now = settings_of(model), datetime.now(UTC)
    store = open_registry(registry, model)
    scored = monitor_day(
        store,
        open_store(telemetry or settings.telemetry),
        parse_day(day) if day else now.date() - timedelta(days=1),
        (work or settings.work) / "monitor",
        now=now,
    )
    if as_json:
        print_json(scored)
    else:
        logger.info("%s", summary(scored))
    name = model or DEFAULT_MODEL
    publish_metrics(scored, metrics_file or settings.metrics_file, push or settings.pushgateway, model=name)
    if alert:
        link = f"{store.uri}/monitoring/days/{scored['day']}.json"
        model_alarms.notify(store, settings.alert_urls.split(), scored, link=link, now=now)
    if scored["alarm"]:
        raise typer.Exit(1)


def parse_day(text: str) -> date:
    """The calendar day. Raises ConfigError."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r}: is not a day; expected YYYY-MM-DD, such as 2026-11-01.") from error
