"""The command line's `bwpredict generate`: telemetry of a simulated network."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from bwpredict.cli import options
from bwpredict.errors import ConfigError
from bwpredict.store.files import require_local_path

logger = logging.getLogger(__name__)

_GUIDE_SAMPLES = 15_000


def generate(
    output: Annotated[
        Path, typer.Option(help="CSV file, or with --days the folder of daily partitions.", callback=require_local_path)
    ],
    samples: Annotated[int | None, typer.Option(help=f"Rows of one CSV file (default: {_GUIDE_SAMPLES:,}).")] = None,
    links: Annotated[int | None, typer.Option(help="Links of the fleet, with --days (default: 20).")] = None,
    days: Annotated[int | None, typer.Option(help="Days to generate, as partitioned Parquet.")] = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD, UTC (default: 2026-10-01).")] = None,
    regime: Annotated[str | None, typer.Option(help="calm, congested or drifting (default: calm).")] = None,
    drift_from: Annotated[str | None, typer.Option(help="First day with drift (default: the middle day).")] = None,
    gap_share: Annotated[float | None, typer.Option(help="Share of rows missing in outages (default: 0).")] = None,
    late_share: Annotated[float | None, typer.Option(help="Share of rows that arrive late (default: 0).")] = None,
    duplicate_share: Annotated[float | None, typer.Option(help="Share of rows that arrive twice (default: 0).")] = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Also write the best possible forecast.")] = False,
    seed: options.Seed = 42,
) -> None:
    """Simulate telemetry: one CSV file like the training guide's, or daily partitions of a fleet."""
    from bwpredict.simulation import writer
    from bwpredict.simulation.fleet import FleetConfig

    of_fleet = {
        "links": links,
        "days": days,
        "start": start,
        "regime": regime,
        "drift_from": drift_from,
        "gap_share": gap_share,
        "late_share": late_share,
        "duplicate_share": duplicate_share,
    }
    given = {name: value for name, value in of_fleet.items() if value is not None}
    if days is None and links is None:
        if given or oracle:
            option = "--" + next(iter(given), "oracle").replace("_", "-")
            raise ConfigError(f"{option} goes with --links and --days, not with one CSV file of samples.")
        path = writer.write_csv(_GUIDE_SAMPLES if samples is None else samples, seed, output)
    elif samples is not None:
        raise ConfigError(
            "--samples writes one CSV file, --links and --days a partitioned folder: give one or the other."
        )
    else:
        if drift_from is not None and regime != "drifting":
            raise ConfigError("--drift-from goes with --regime drifting.")
        fleet = FleetConfig(**given, seed=seed)  # type: ignore[arg-type]  # FleetConfig checks each value
        path = writer.write_partitioned(fleet, output, oracle=oracle)
    logger.info("Saved to: %s", path)
