"""The command line's `bwpredict collect prometheus | sql`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.cli.commands.monitor import parse_day
from bwpredict.cli.registry_option import AsJson, Model, report, settings_of

if TYPE_CHECKING:
    from bwpredict.ingestion.prometheus import PrometheusSource
    from bwpredict.ingestion.sql import SqlSource

app = typer.Typer(help="Collect telemetry into the store, a partition for each day.", no_args_is_help=True)

Mapping = Annotated[Path, typer.Option(help="YAML file that maps the source's names: docs/telemetry-sources.md.")]
Start = Annotated[str, typer.Option(help="First UTC day, YYYY-MM-DD.")]
End = Annotated[str, typer.Option(help="Last UTC day, which must be over (default: the first).")]
LateDays = Annotated[
    int, typer.Option(min=0, max=31, help="Days before --start to read again for samples that arrived late.")
]
Telemetry = Annotated[str, typer.Option(help="Store to write the days to (default: that of --model).")]


@app.command(epilog="Example: bwpredict collect prometheus --mapping links.yaml --start 2026-10-31")
def prometheus(
    mapping: Mapping,
    start: Start,
    end: End = "",
    late_days: LateDays = 0,
    telemetry: Telemetry = "",
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Collect from a Prometheus server; days that are already in the store do not change."""
    from bwpredict.ingestion.prometheus import PrometheusSource, load_mapping

    place = telemetry or settings_of(model).telemetry
    _collect(PrometheusSource(load_mapping(mapping)), start, end, late_days, place, as_json=as_json)


@app.command(epilog="Example: bwpredict collect sql --mapping links.yaml --start 2026-10-01 --end 2026-10-31")
def sql(
    mapping: Mapping,
    start: Start,
    end: End = "",
    late_days: LateDays = 0,
    telemetry: Telemetry = "",
    model: Model = "",
    as_json: AsJson = False,
) -> None:
    """Collect from a SQL database; days that are already in the store do not change."""
    from bwpredict.ingestion.sql import SqlSource, load_mapping

    place = telemetry or settings_of(model).telemetry
    _collect(SqlSource(load_mapping(mapping)), start, end, late_days, place, as_json=as_json)


def _collect(
    source: PrometheusSource | SqlSource, start: str, end: str, late_days: int, telemetry: str, *, as_json: bool
) -> None:
    from bwpredict.ingestion.landing import days_between, ingest_days
    from bwpredict.store.factory import open_store

    days = days_between(parse_day(start), parse_day(end or start), datetime.now(UTC))
    source.check()
    store = open_store(telemetry)
    landed = ingest_days(store, days, source.read_day, late_days=late_days)
    counts = (
        f"{len(landed.written)} days written, {len(landed.updated)} updated, {len(landed.there_already)} already there"
    )
    sentence = f"{store.uri}: {counts}, {len(landed.empty)} without a row in {source.where}."
    report({"telemetry": store.uri, **asdict(landed)}, sentence, as_json=as_json)
