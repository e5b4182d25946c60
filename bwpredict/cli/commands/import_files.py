"""The command line's `bwpredict import`: convert files into the daily partitions that other commands read."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.core.formatting import count_of

if TYPE_CHECKING:
    from bwpredict.ingestion.files import Imported

logger = logging.getLogger(__name__)


def import_files(
    files: Annotated[list[Path], typer.Argument(help="CSV or Parquet files, or folders of them.")],
    output: Annotated[str, typer.Option(help="Store to write the days to: a folder or s3://bucket/prefix.")],
    mapping: Annotated[
        Path | None, typer.Option(help="YAML file with names, units, constants and time zone: docs/your-data.md.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite days that exist with other rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Convert telemetry files into date= partitions, which `train`, `retrain` and the DAGs read.

    `telemetry.json` beside the days lists the columns that the files lack; checks, slices and forecasts skip them.
    """
    from bwpredict.datasets.file_mapping import FileMapping, load_mapping
    from bwpredict.ingestion import files as importing
    from bwpredict.store.factory import open_store

    how = load_mapping(mapping) if mapping else FileMapping()
    done = importing.import_files(files, how, open_store(output), replace_days=replace, now=datetime.now(UTC))
    if as_json:
        print_json(
            {"telemetry": output, "days": done.days, "rows": done.rows, "links": done.links}
            | done.description.document()
        )
    else:
        _report(done, output)


def _report(done: Imported, output: str) -> None:
    description = done.description
    logger.info(
        "%s: %s of %s, %s to %s (%s), a sample each %d s.",
        output, count_of(done.rows, "row"), count_of(done.links, "link"), done.days[0], done.days[-1],
        count_of(len(done.days), "day"), description.cadence_seconds,
    )  # fmt: skip
    logger.info("Calendar: %s.", description.calendar.sentence)
    if description.absent:
        logger.info("Not in the files, and left out: %s.", ", ".join(description.absent))
    months = sorted({f"{day:%Y-%m}" for day in done.days})
    logger.info("Next: bwpredict retrain --telemetry %s --month %s", output, months[-1])
