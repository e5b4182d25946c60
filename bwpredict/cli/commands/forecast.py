"""The command `forecast`: the next hour of one link, in the terminal or as JSON."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bwpredict import schema
from bwpredict.cli.registry_option import Model, Registry, open_registry, print_json, settings_of
from bwpredict.core.formatting import display_name, number, undefined_as_none, unit_of
from bwpredict.schema import Target

if TYPE_CHECKING:
    from rich.table import Table

    from bwpredict.exporter.next_hour import NextHour
    from bwpredict.provenance.signing import TrustedKeys


def forecast(
    link: Annotated[str, typer.Argument(help="The link, <node_id>-<peer_id>.")],
    source: Annotated[
        str,
        typer.Option(
            help="Telemetry folder or s3://bucket/prefix, or a mapping file of `bwpredict collect` (.yaml)"
            " (default: $BWPREDICT_TELEMETRY)."
        ),
    ] = "",
    models: Annotated[
        Path | None, typer.Option(help="Folder that `bwpredict pull` writes (default: the model in production).")
    ] = None,
    registry: Registry = "",
    model: Model = "",
    target: Annotated[Target, typer.Option(help="Target to chart.")] = "throughput_mbps",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: docs/consumers.md.")] = False,
    require_signature: Annotated[
        bool, typer.Option("--require-signature", help="Use only versions signed with a key of BWPREDICT_TRUSTED_KEYS.")
    ] = False,
) -> None:
    """Forecast the next hour of a link from its newest sample: a chart, intervals and confidence."""
    from bwpredict.exporter.next_hour import next_hour
    from bwpredict.exporter.sources import open_source
    from bwpredict.provenance.signing import TrustedKeys
    from bwpredict.serving.stream import Stream

    settings = settings_of(model)
    opened = open_source(source or settings.telemetry)
    opened.check()
    trusted = TrustedKeys.load(settings.trusted_keys) if require_signature else None
    with _model_folder(models, registry, model, trusted) as folder:
        found = next_hour(Stream(folder, trusted=trusted), opened, link, now=time.time())
    if as_json:
        print_json(_document(found))
    else:
        _show(found, target)


@contextmanager
def _model_folder(models: Path | None, registry: str, model: str, trusted: TrustedKeys | None) -> Iterator[Path]:
    """The folder of the models; without one, a verified copy of what is in production, for this call."""
    from bwpredict.serving.delivery import deliver

    if models is not None:
        yield models
        return
    with tempfile.TemporaryDirectory() as folder:
        deliver(open_registry(registry, model), Path(folder), trusted=trusted)
        yield Path(folder)


def _show(found: NextHour, target: str) -> None:
    from rich.console import Console
    from rich.markup import escape

    from bwpredict.cli import terminal_chart

    console = Console(highlight=False, soft_wrap=True)
    newest = datetime.fromtimestamp(found.newest_at, UTC)
    console.print(
        f"[bold]Link {escape(found.link)}[/], forecast by {found.version} from {newest:%Y-%m-%d %H:%M} UTC on"
    )
    if not found.warm:
        console.print(
            "[yellow]The history is shorter than the model's warm-up time: the forecasts are less accurate.[/]"
        )
    place = schema.TARGETS.index(target)
    lower, median, upper = (found.quantiles[:, level, place] for level in (0, len(found.levels) // 2, -1))
    console.print(f"\n{display_name(target)} ({unit_of(target)})")
    minutes = found.horizons_minutes
    for line in terminal_chart.fan_chart(found.recent[:, place], minutes, lower, median, upper):
        console.print(escape(line))
    marks = f"{terminal_chart.ACTUAL} sample  {terminal_chart.FORECAST} forecast  {terminal_chart.INTERVAL}"
    console.print(f"[dim]{marks} {_interval_level(found):.0%} interval[/]\n")
    console.print(_table(found))
    sure = found.overall_confidence
    if sure is not None:
        console.print(f"Confidence {schema.HORIZON_MINUTES} minutes ahead, over all targets: {sure:.2f} (0 to 1)")


def _table(found: NextHour) -> Table:
    """A row for each horizon: the median, and below it the interval."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("UTC")
    for name in schema.TARGETS:
        unit = unit_of(name)
        table.add_column(f"{display_name(name)}{f' ({unit})' if unit else ''}", justify="right")
    table.add_row("newest sample", *(number(undefined_as_none(value), 3) for value in found.recent[-1]))
    for minutes, quantiles in zip(found.horizons_minutes, found.quantiles, strict=True):
        cells = []
        for lower, median, upper in quantiles[[0, len(found.levels) // 2, -1]].T.tolist():
            low, middle, high = (number(undefined_as_none(value), 3) for value in (lower, median, upper))
            cells.append(f"{middle}\n[dim]{low} – {high}[/]")
        table.add_row(f"{_at(found, minutes):%H:%M}\n[dim]+{minutes:g} min[/]", *cells)
    if found.confidence:
        table.add_row("confidence", *(f"{found.confidence[name]:.2f}" for name in schema.TARGETS))
    return table


def _document(found: NextHour) -> dict[str, Any]:
    middle = len(found.levels) // 2
    targets = {
        name: {
            "unit": unit_of(name),
            "newest_sample": undefined_as_none(found.recent[-1, place]),
            "confidence": found.confidence.get(name),
            "forecasts": [
                {
                    "minutes_ahead": minutes,
                    "at": _at(found, minutes).isoformat(),
                    "lower": undefined_as_none(values[0, place]),
                    "median": undefined_as_none(values[middle, place]),
                    "upper": undefined_as_none(values[-1, place]),
                }
                for minutes, values in zip(found.horizons_minutes, found.quantiles, strict=True)
            ],
        }
        for place, name in enumerate(schema.TARGETS)
    }
    return {
        "link": found.link,
        "version": found.version,
        "newest_sample_at": _at(found, 0).isoformat(),
        "warm": found.warm,
        "confidence": found.overall_confidence,
        "interval_level": _interval_level(found),
        "targets": targets,
    }


def _interval_level(found: NextHour) -> float:
    return round(found.levels[-1] - found.levels[0], 6)


def _at(found: NextHour, minutes: float) -> datetime:
    return datetime.fromtimestamp(found.newest_at, UTC) + timedelta(minutes=minutes)
