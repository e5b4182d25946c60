"""The command line's `bwpredict train`: train a model on a file or folder, as in the training guide."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bwpredict.cli import options
from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.config import Settings, SplitConfig, TrainingConfig, load
from bwpredict.core.code_version import code_version
from bwpredict.store.files import require_local_path

logger = logging.getLogger(__name__)


@options.training_options(leave_out=("warm_start",))
def train(
    context: typer.Context,
    training: dict[str, Any],
    telemetry: Annotated[
        Path,
        typer.Option(
            "--telemetry", "--data-path", help="CSV or Parquet file, or a folder of them.", callback=require_local_path
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "--output-dir", help="Folder for the artifacts.", callback=require_local_path)
    ] = Path("checkpoints/bandwidth_predictor"),
    quantize: options.Quantize = False,
    warm_start: options.WarmStartFile = None,
    split_by: options.SplitBy = "calendar",
    training_config: options.TrainingFile = "",
    as_json: AsJson = False,
) -> None:
    """Train on a file or folder and write the guide's artifacts. Exit code 1 if the guide's target is not met.

    Columns have the schema's names, or: bandwidth_mbps and latency_ms (throughput_mbps, rtt_ms), time and unix_time
    (timestamp), link, link_id or node_id alone (the link). The log names missing columns; a constant takes their place.
    """
    from bwpredict.pipeline import standalone
    from bwpredict.tuning import config_files

    from_file, source = config_files.resolve(training_config, Settings().registry)
    training = training | {"warm_start": warm_start is not None}
    training |= {name: value for name, value in from_file.items() if not options.is_given(context, name)}
    comparison = standalone.train_on(
        telemetry,
        output,
        load(TrainingConfig, training, origin="parameters"),
        split_by=load(SplitConfig, {"by": split_by}, origin="parameters").by,
        quantize=quantize,
        now=datetime.now(UTC),
        code_version=code_version(),
        training_file=source,
        champion=warm_start,
    )
    if as_json:
        print_json(comparison)
    else:
        _show(comparison)
    logger.info("Artifacts saved to: %s", output)
    if not comparison["models"]["challenger"]["overall"]["target_met"]:
        logger.info("The guide's target (average correlation >= 0.98, average MAPE <= 5 %) is not met.")
        raise typer.Exit(1)


def _show(comparison: dict[str, Any]) -> None:
    from bwpredict.reports.tables import tables

    for table in tables(comparison):
        Console(highlight=False).print(table)
