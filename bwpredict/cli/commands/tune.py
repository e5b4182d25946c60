"""`bwpredict tune`: search for hyperparameters, and approve the result of a search."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from datetime import UTC, datetime
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from bwpredict.cli import options
from bwpredict.cli.identity import person
from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.config import Cut, Settings, SplitConfig, TrainingConfig, load
from bwpredict.core.code_version import code_version
from bwpredict.core.progress_bar import DISABLE, bar
from bwpredict.errors import ConfigError

if TYPE_CHECKING:
    from bwpredict.datasets.windows import Split
    from bwpredict.tuning.study import Study, Trial

logger = logging.getLogger(__name__)

app = typer.Typer()

_ROWS = 5


@app.callback(
    invoke_without_command=True,
    epilog="Example: bwpredict tune --telemetry data/telemetry --study studies/autumn --trials 20",
)
def tune(
    context: typer.Context,
    telemetry: Annotated[
        Path | None, typer.Option("--telemetry", "--data-path", help="CSV or Parquet file, or a folder of them.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Folder of the study, also its name; an existing study is resumed.")
    ] = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Total number of finished trials.")] = 20,
    epochs: Annotated[int, typer.Option(help="Maximum epochs of each trial.")] = options.DEFAULTS.epochs,
    windows_per_epoch: options.WindowsPerEpoch = options.DEFAULTS.windows_per_epoch,
    split_by: options.SplitBy = "calendar",
    pruner: Annotated[str, typer.Option(help="How to stop poor trials early: median, hyperband or none.")] = "median",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Trials at a time; with 1 the search is deterministic.")] = 1,
    registry: Annotated[str, typer.Option(help="Also add the result to this registry's proposals.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the search and of every training.")] = options.DEFAULTS.seed,
    as_json: AsJson = False,
) -> None:
    """Search for hyperparameters by validation loss, and write training_<study>.yaml for review."""
    if context.invoked_subcommand:
        return
    if telemetry is None or study is None:
        raise ConfigError("tune: give --telemetry (a file or folder) and --study (a folder for the study).")
    budget = {"epochs": epochs, "windows_per_epoch": windows_per_epoch, "seed": seed}
    training = load(TrainingConfig, budget, origin="parameters")
    by = load(SplitConfig, {"by": split_by}, origin="parameters").by
    prepare = partial(_prepare, study.absolute(), telemetry, training, by, pruner)
    opened, split = prepare()
    workers = _start_workers(jobs - 1, partial(_work, prepare, trials, jobs))
    _search(opened, split, trials)
    for worker in workers:
        worker.join()
    _hand_over(opened, trials, registry, as_json=as_json)


@app.command(epilog="Example: bwpredict tune approve autumn --registry data/registry")
def approve(
    name: Annotated[str, typer.Argument(help="A proposal's name, such as tune_20261101_093000.")],
    registry: Annotated[str, typer.Option(help="Registry with the proposal (default: $BWPREDICT_REGISTRY).")] = "",
    by: Annotated[
        str, typer.Option(help="Who approves it (default: your user name; root and unknown users are asked).")
    ] = "",
) -> None:
    """Approve a proposed configuration, so that it can be used by name; records who approved it and when."""
    from bwpredict.store.factory import open_store
    from bwpredict.tuning import config_files

    store = open_store(registry or Settings().registry)
    approved = config_files.approve(store, name, by=person(by), now=datetime.now(UTC))
    values = ", ".join(f"{key}={value}" for key, value in approved.training.items())
    logger.info("%s is approved: %s", name, values)
    logger.info("Use it: bwpredict retrain --training-config %s, or the param training_config of the DAG.", name)


def _prepare(folder: Path, telemetry: Path, training: TrainingConfig, by: Cut, pruner: str) -> tuple[Study, Split]:
    """Read the telemetry and open the study on it; the same for every worker."""
    from bwpredict.pipeline import standalone
    from bwpredict.tuning import study as tuning_study

    prepared = standalone.prepare(telemetry, training, split_by=by, now=datetime.now(UTC), code_version=code_version())
    values = {
        "name": folder.name,
        "training": training,
        "split": prepared.run.split,
        "pruner": pruner,
        "telemetry": str(telemetry),
        "snapshot_id": prepared.data["snapshot_id"],
        "code_version": prepared.run.code_version,
        "created_at": prepared.run.created_at,
    }
    spec = load(tuning_study.StudySpec, values, origin="study")
    return tuning_study.open_study(folder, spec), prepared.split


def _start_workers(count: int, work: partial[None]) -> list[BaseProcess]:
    """Further processes on the same study; they end with this one."""
    context = multiprocessing.get_context("spawn")
    workers: list[BaseProcess] = [context.Process(target=work, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    return workers


def _work(prepare: partial[tuple[Study, Split]], trials: int, jobs: int) -> None:
    """Run trials in one of these processes; the jobs share the cores."""
    import torch

    os.environ[DISABLE] = "1"
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", stream=sys.stderr if "--json" in sys.argv else sys.stdout
    )
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    _search(*prepare(), trials)


def _search(study: Study, split: Split, trials: int) -> None:
    from bwpredict.tuning import study as tuning_study

    shown = bar("Tuning", "trials", trials, done=len(tuning_study.finished_trials(study)))

    def tell(trial: Trial) -> None:
        finished = tuning_study.finished_trials(study)
        shown.update(len(finished) - shown.n)
        so_far = "".join(f"  (best so far {best.validation_loss:.4f})" for best in tuning_study.ranked(finished)[:1])
        logger.info("%d of %d: %s%s", len(finished), trials, tuning_study.sentence(trial), so_far)

    with shown:
        tuning_study.run_trials(study, split, trials, tell)


def _hand_over(study: Study, trials: int, registry: str, *, as_json: bool) -> None:
    """Show the best trials beside the default configuration, and write the proposal."""
    from bwpredict.store.factory import open_store
    from bwpredict.tuning import config_files
    from bwpredict.tuning import study as tuning_study
    from bwpredict.tuning.proposal import gain, write_proposal

    path = write_proposal(study, trials, study.folder)
    best, defaults = tuning_study.best_and_defaults(study)
    if as_json:
        print_json({"path": path, **yaml.safe_load(path.read_text())})
    else:
        Console(highlight=False).print(_table(tuning_study.finished_trials(study)))
    logger.info("Found: %s.", gain(best, defaults))
    logger.info("Proposal saved to: %s", path)
    if registry:
        name = config_files.propose(open_store(registry), path)
        logger.info("Review it, then: bwpredict tune approve %s --registry %s", name, registry)


def _table(trials: list[Trial]) -> Table:
    """The best complete trials and the default configuration's, by validation loss."""
    from bwpredict.tuning import study as tuning_study

    counts = ", ".join(
        f"{sum(trial.state == state for trial in trials)} {state}"
        for state in ("complete", "pruned", "diverged", "died")
    )
    table = Table(
        "trial", "loss", *tuning_study.SPACE, title=f"{len(trials)} trials: {counts}", box=box.SIMPLE, padding=0
    )
    for place, trial in enumerate(tuning_study.ranked(trials)):
        if place < _ROWS or trial.is_default:
            values = (tuning_study.shown(trial.values[name]) for name in tuning_study.SPACE)
            label = "default" if trial.is_default else str(trial.number)
            table.add_row(label, f"{trial.validation_loss:.4f}", *values)
    return table
