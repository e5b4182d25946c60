"""The command line: `bwpredict generate | train | retrain`, and what `commands` adds.

Exit code 0: done; 1: a negative verdict (validation, gate, or the guide's target not met);
2: something the user can mend, said in one sentence.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bwpredict.code_version import code_version
from bwpredict.commands import canary, collect, monitor, predict, tune
from bwpredict.commands import policy as policy_commands
from bwpredict.commands import pull as pull_command
from bwpredict.commands import registry as registry_commands
from bwpredict.commands.backtest import backtest
from bwpredict.commands.decide import decide
from bwpredict.commands.tune import TrainingFileOption
from bwpredict.commands.which import Model
from bwpredict.config import RunConfig, Settings, SplitConfig, TrainingConfig, load
from bwpredict.errors import BwPredictError, ConfigError, Verdict
from bwpredict.files import on_disk
from bwpredict.named_models import DEFAULT_MODEL, find_model
from bwpredict.policies import DEFAULT

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="Retrain, judge and publish the DWCP bandwidth predictor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(tune.app, name="tune")
app.add_typer(policy_commands.app, name="policy")
app.add_typer(collect.app, name="collect")
app.command()(decide)
app.command()(backtest)

registry_commands.register(app)
pull_command.register(app)
predict.register(app)
canary.register(app)
monitor.register(app)

_GUIDE_SAMPLES = 15_000
_DEFAULTS = TrainingConfig()
_NOISY = ("botocore", "boto3", "urllib3", "great_expectations", "matplotlib", "fontTools")

Registry = Annotated[str, typer.Option(help="Folder or s3://bucket/prefix with the published models.")]
Prune = Annotated[
    float, typer.Option("--prune", help="Share of each weight matrix to prune to zero, and fine-tune after; 0: none.")
]
FineTuneEpochs = Annotated[int, typer.Option(help="Most epochs of fine-tuning after pruning.")]
Quantize = Annotated[bool, typer.Option("--quantize", help="Export with int8 weights, for ONNX Runtime only.")]
Architecture = Annotated[str, typer.Option(help="guide: LSTM layers and highway; dense: the highway alone.")]
HighwayEpochs = Annotated[int, typer.Option(help="Most epochs of the highway; each sees three times the windows.")]
Epochs = Annotated[int, typer.Option(help="Most epochs of the guide's layers; training stops early.")]
Ranks = Annotated[int, typer.Option(help="Processes that train together, each on its share of every batch.")]
WarmStart = Annotated[
    bool, typer.Option("--warm-start", help="Also train the champion further, and keep the better of the two.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result, bit for bit.")]


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and an exit code, never a stack trace."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        app()
    except BwPredictError as error:
        print(f"{'' if isinstance(error, Verdict) else 'error: '}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # a folder that is a file, a full disk, no permission
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(2)


@app.command()
def generate(
    output: Annotated[
        Path, typer.Option(help="CSV file, or with --days the folder of daily partitions.", callback=on_disk)
    ],
    samples: Annotated[int | None, typer.Option(help=f"Rows of one CSV file (default: {_GUIDE_SAMPLES:,}).")] = None,
    links: Annotated[int | None, typer.Option(help="Links of the fleet, with --days (default: 20).")] = None,
    days: Annotated[int | None, typer.Option(help="Days to generate, as partitioned Parquet.")] = None,
    start: Annotated[str | None, typer.Option(help="First day, YYYY-MM-DD, UTC (default: 2026-10-01).")] = None,
    regime: Annotated[str | None, typer.Option(help="calm, congested or drifting (default: calm).")] = None,
    drift_from: Annotated[
        str | None, typer.Option(help="First day that has drifted (default: the middle of the days).")
    ] = None,
    gap_share: Annotated[float | None, typer.Option(help="Share of rows missing in outages (default: 0).")] = None,
    late_share: Annotated[float | None, typer.Option(help="Share of rows that arrive late (default: 0).")] = None,
    duplicate_share: Annotated[float | None, typer.Option(help="Share of rows that arrive twice (default: 0).")] = None,
    oracle: Annotated[bool, typer.Option("--oracle", help="Also write the best forecast there is.")] = False,
    seed: Seed = 42,
) -> None:
    """Make physically modelled telemetry: a CSV like the guide's, or a fleet's daily partitions."""
    from bwpredict.synth import writer
    from bwpredict.synth.fleet import FleetConfig

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
            "--samples makes one CSV file, --links and --days a partitioned folder: give one or the other."
        )
    else:
        if drift_from is not None and regime != "drifting":
            raise ConfigError("--drift-from goes with --regime drifting.")
        fleet = FleetConfig(**given, seed=seed)  # type: ignore[arg-type]  # FleetConfig checks each value
        path = writer.write_partitioned(fleet, output, oracle=oracle)
    logger.info("Saved to: %s", path)


@app.command()
def train(
    context: typer.Context,
    data_path: Annotated[Path, typer.Option(help="CSV or Parquet file, or a folder of them.", callback=on_disk)],
    output_dir: Annotated[Path, typer.Option(help="Folder for the artifacts.", callback=on_disk)] = Path(
        "checkpoints/bandwidth_predictor"
    ),
    architecture: Architecture = _DEFAULTS.architecture,
    highway_epochs: HighwayEpochs = _DEFAULTS.highway_epochs,
    epochs: Epochs = _DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Windows for each step.")] = _DEFAULTS.batch_size,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = _DEFAULTS.learning_rate,
    window_size: Annotated[int, typer.Option(help="Samples the model sees.")] = _DEFAULTS.window_size,
    horizon_minutes: Annotated[int, typer.Option(help="How far ahead it forecasts.")] = _DEFAULTS.horizon_minutes,
    windows_per_epoch: Annotated[int, typer.Option(help="Windows drawn for each epoch.")] = _DEFAULTS.windows_per_epoch,
    prune_share: Prune = _DEFAULTS.prune_share,
    fine_tune_epochs: FineTuneEpochs = _DEFAULTS.fine_tune_epochs,
    quantize: Quantize = False,
    ranks: Ranks = _DEFAULTS.ranks,
    accumulation_steps: Annotated[
        int, typer.Option(help="Parts of a batch computed one after another: less memory.")
    ] = _DEFAULTS.accumulation_steps,
    activation_checkpointing: Annotated[
        bool, typer.Option("--activation-checkpointing", help="Compute the layers twice: less memory.")
    ] = _DEFAULTS.activation_checkpointing,
    warm_start: Annotated[
        Path | None, typer.Option(help="A best_model.pth: also train it further, and keep the better model.")
    ] = None,
    split_by: Annotated[
        str, typer.Option(help="calendar: one cut in time for all links; link: each link's own time is cut.")
    ] = "calendar",
    training_config: TrainingFileOption = "",
    seed: Seed = _DEFAULTS.seed,
) -> None:
    """Train on a file or folder and write the guide's artifacts. Exit code 1 if the guide's target is not met.

    Columns have the schema's names, or: bandwidth_mbps and latency_ms (throughput_mbps, rtt_ms), time and unix_time
    (timestamp), link, link_id or node_id alone (the link). What is missing is said and filled with a constant.
    """
    from bwpredict import external_run, training_file
    from bwpredict.reports.tables import tables

    from_file, source = training_file.resolve(training_config, Settings().registry)
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
    training |= {name: value for name, value in from_file.items() if not _is_given(context, name)}
    comparison = external_run.train_on(
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
    for table in tables(comparison):
        _console().print(table)
    logger.info("Artifacts saved to: %s", output_dir)
    if not comparison["models"]["challenger"]["overall"]["target_met"]:
        logger.info("The guide's target (average correlation >= 0.98, average MAPE <= 5 %) is not met.")
        raise typer.Exit(1)


@app.command()
def retrain(
    context: typer.Context,
    month: Annotated[str, typer.Option(help="Month of telemetry, YYYY-MM (UTC).")],
    model: Model = "",
    telemetry: Annotated[
        str | None, typer.Option(help="Store with the telemetry (default: $BWPREDICT_TELEMETRY).")
    ] = None,
    registry: Annotated[str | None, typer.Option(help="Store with the models (default: $BWPREDICT_REGISTRY).")] = None,
    work: Annotated[Path | None, typer.Option(help="Folder of work areas (default: $BWPREDICT_WORK).")] = None,
    history_months: Annotated[int, typer.Option(help="Months to read, the last one included.")] = 1,
    architecture: Architecture = _DEFAULTS.architecture,
    highway_epochs: HighwayEpochs = _DEFAULTS.highway_epochs,
    epochs: Epochs = _DEFAULTS.epochs,
    windows_per_epoch: Annotated[int, typer.Option(help="Windows drawn for each epoch.")] = _DEFAULTS.windows_per_epoch,
    prune_share: Prune = _DEFAULTS.prune_share,
    fine_tune_epochs: FineTuneEpochs = _DEFAULTS.fine_tune_epochs,
    quantize: Quantize = False,
    ranks: Ranks = _DEFAULTS.ranks,
    warm_start: WarmStart = _DEFAULTS.warm_start,
    force_bootstrap: Annotated[bool, typer.Option("--force-bootstrap", help="Judge without the champion.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after the decision.")] = False,
    training_config: TrainingFileOption = "",
    policy: Annotated[str, typer.Option(help="Gate policy: a name of `policy list`, or a YAML file.")] = DEFAULT,
    seed: Seed = _DEFAULTS.seed,
) -> None:
    """Run the whole retraining, as the DAG does: pull, validate, train, export, compare, decide, publish.

    What is not given is as the model's training configuration, its entry in $BWPREDICT_MODELS or the default has it.
    """
    from bwpredict.runs import run_config

    named = find_model(model or DEFAULT_MODEL, Settings())
    places = {"telemetry": telemetry, "registry": registry, "work": work}
    settings = named.settings(Settings()).model_copy(
        update={name: value for name, value in places.items() if value is not None}
    )
    params = {
        "month": month,
        "history_months": history_months,
        "architecture": architecture,
        "highway_epochs": highway_epochs,
        "epochs": epochs,
        "windows_per_epoch": windows_per_epoch,
        "prune_share": prune_share,
        "fine_tune_epochs": fine_tune_epochs,
        "quantize": quantize,
        "ranks": ranks,
        "warm_start": warm_start,
        "seed": seed,
        "force_bootstrap": force_bootstrap,
        "dry_run": dry_run,
        "training_config": training_config,
        "policy": policy,
    }
    now = datetime.now(UTC)
    run = run_config(
        {name: value for name, value in params.items() if _is_given(context, name)},
        run_id=f"manual-{month}-{now:%Y%m%dT%H%M%S}",
        interval_start=None,
        run_after=now,
        now=now,
        settings=settings,
        code_version=code_version(),
        model=named,
    )
    _run_all_steps(run, settings.work)


def _run_all_steps(run: RunConfig, work: Path) -> None:
    """Raises GateRejected: the challenger did not pass, and nothing was published."""
    from bwpredict import steps
    from bwpredict.documents import read_document
    from bwpredict.errors import GateRejected
    from bwpredict.references import file_of

    reference = steps.plan(run, work)
    for step in (steps.pull, steps.validate, steps.train, steps.export, steps.compare, steps.decide):
        logger.info("-- %s", step.__name__)
        reference = step(reference)
    decision = read_document(file_of(reference), "decision")
    if not decision["passed"]:
        raise GateRejected(f"Nothing was published. Report: {file_of(reference, steps.MODEL_CARD)}")
    if not run.dry_run:
        steps.publish(reference)


def _is_given(context: typer.Context, option: str) -> bool:
    """Whether the user gave the option, be it with its default value."""
    return (source := context.get_parameter_source(option)) is not None and source.name == "COMMANDLINE"


def _console() -> Console:
    return Console(highlight=False)
