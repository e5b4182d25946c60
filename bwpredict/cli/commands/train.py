"""The command line's `bwpredict train`: a model of a file or folder, as the training guide has it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bwpredict.cli import options
from bwpredict.config import Settings, SplitConfig, TrainingConfig, load
from bwpredict.core.code_version import code_version
from bwpredict.store.files import on_disk

logger = logging.getLogger(__name__)


def train(
    context: typer.Context,
    data_path: Annotated[Path, typer.Option(help="CSV or Parquet file, or a folder of them.", callback=on_disk)],
    output_dir: Annotated[Path, typer.Option(help="Folder for the artifacts.", callback=on_disk)] = Path(
        "checkpoints/bandwidth_predictor"
    ),
    architecture: options.Architecture = options.DEFAULTS.architecture,
    highway_epochs: options.HighwayEpochs = options.DEFAULTS.highway_epochs,
    epochs: options.Epochs = options.DEFAULTS.epochs,
    batch_size: options.BatchSize = options.DEFAULTS.batch_size,
    learning_rate: options.LearningRate = options.DEFAULTS.learning_rate,
    window_size: options.WindowSize = options.DEFAULTS.window_size,
    horizon_minutes: options.HorizonMinutes = options.DEFAULTS.horizon_minutes,
    windows_per_epoch: options.WindowsPerEpoch = options.DEFAULTS.windows_per_epoch,
    prune_share: options.Prune = options.DEFAULTS.prune_share,
    fine_tune_epochs: options.FineTuneEpochs = options.DEFAULTS.fine_tune_epochs,
    quantize: options.Quantize = False,
    ranks: options.Ranks = options.DEFAULTS.ranks,
    accumulation_steps: options.AccumulationSteps = options.DEFAULTS.accumulation_steps,
    activation_checkpointing: options.ActivationCheckpointing = options.DEFAULTS.activation_checkpointing,
    warm_start: options.WarmStartFile = None,
    split_by: options.SplitBy = "calendar",
    training_config: options.TrainingFile = "",
    seed: options.Seed = options.DEFAULTS.seed,
) -> None:
    """Train on a file or folder and write the guide's artifacts. Exit code 1 if the guide's target is not met.

    Columns have the schema's names, or: bandwidth_mbps and latency_ms (throughput_mbps, rtt_ms), time and unix_time
    (timestamp), link, link_id or node_id alone (the link). What is missing is said and filled with a constant.
    """
    from bwpredict.pipeline import standalone
    from bwpredict.tuning import config_files

    from_file, source = config_files.resolve(training_config, Settings().registry)
    training = {
        "architecture": architecture,
        "highway_epochs": highway_epochs,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "window_size": window_size,
        "horizon_minutes": horizon_minutes,
        "windows_per_epoch": windows_per_epoch,
        "prune_share": prune_share,
        "fine_tune_epochs": fine_tune_epochs,
        "ranks": ranks,
        "accumulation_steps": accumulation_steps,
        "activation_checkpointing": activation_checkpointing,
        "warm_start": warm_start is not None,
        "seed": seed,
    }
    training |= {name: value for name, value in from_file.items() if not options.is_given(context, name)}
    comparison = standalone.train_on(
        data_path,
        output_dir,
        load(TrainingConfig, training, origin="parameters"),
        split_by=load(SplitConfig, {"by": split_by}, origin="parameters").by,
        quantize=quantize,
        now=datetime.now(UTC),
        code_version=code_version(),
        training_file=source,
        champion=warm_start,
    )
    _report(comparison, output_dir)


def _report(comparison: dict[str, Any], output_dir: Path) -> None:
    """Print what came of it; ends with exit code 1 where the guide's target is not met."""
    from bwpredict.reports.tables import tables

    for table in tables(comparison):
        Console(highlight=False).print(table)
    logger.info("Artifacts saved to: %s", output_dir)
    if not comparison["models"]["challenger"]["overall"]["target_met"]:
        logger.info("The guide's target (average correlation >= 0.98, average MAPE <= 5 %) is not met.")
        raise typer.Exit(1)
