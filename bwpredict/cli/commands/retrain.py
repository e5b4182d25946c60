"""The command line's `bwpredict retrain`: the DAG's steps, without Airflow."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from bwpredict.cli import options
from bwpredict.cli.identity import user
from bwpredict.cli.registry_option import AsJson, Model, print_json
from bwpredict.config import DEFAULT_MODEL, RunConfig, Settings
from bwpredict.core.code_version import code_version
from bwpredict.core.progress_bar import track
from bwpredict.gate.policies import DEFAULT
from bwpredict.pipeline.model_catalog import NamedModel, find_model
from bwpredict.workspace.artifacts import COMPARISON, MODEL_CARD

logger = logging.getLogger(__name__)


@options.training_options()
def retrain(
    context: typer.Context,
    training: dict[str, Any],
    month: options.Month,
    model: Model = "",
    telemetry: options.TelemetryStore = None,
    registry: options.Registry = None,
    work: options.Work = None,
    history_months: options.HistoryMonths = 1,
    quantize: options.Quantize = False,
    force_bootstrap: options.ForceBootstrap = False,
    accept_telemetry: options.AcceptTelemetry = False,
    override_reason: options.OverrideReason = "",
    dry_run: options.DryRun = False,
    training_config: options.TrainingFile = "",
    policy: options.Policy = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Run the DAG's steps here: snapshot, validate, train, export, compare, decide, publish.

    Options that you leave out come from --training-config, the model's entry in $BWPREDICT_MODELS, or the defaults.
    """
    named, settings = model_and_settings(model, telemetry=telemetry, registry=registry, work=work)
    params = {
        "month": month,
        "history_months": history_months,
        "quantize": quantize,
        "force_bootstrap": force_bootstrap,
        "accept_telemetry": accept_telemetry,
        "override_reason": override_reason,
        "dry_run": dry_run,
        "training_config": training_config,
        "policy": policy,
        **training,
    }
    given = {name: value for name, value in params.items() if options.is_given(context, name)}
    run_steps(given, settings, named, as_json=as_json)


def model_and_settings(model: str, **places: str | Path | None) -> tuple[NamedModel, Settings]:
    """The model of this name, and its settings with the given places. Raises ConfigError."""
    named = find_model(model or DEFAULT_MODEL, Settings())
    given = {name: value for name, value in places.items() if value is not None}
    return named, named.settings(Settings()).model_copy(update=given)


def run_steps(
    params: dict[str, Any],
    settings: Settings,
    model: NamedModel,
    *,
    challenger: Path | None = None,
    challenger_stream: Path | None = None,
    as_json: bool = False,
) -> None:
    """Run all steps of a run with these params; `challenger` is a model trained elsewhere, instead of training one.

    Raises:
        GateRejected: the challenger was rejected.
    """
    from bwpredict.pipeline.run_config import run_config

    now = datetime.now(UTC)
    run = run_config(
        params,
        run_id=f"manual-{params['month']}-{now:%Y%m%dT%H%M%S}",
        interval_start=None,
        run_after=now,
        now=now,
        settings=settings,
        code_version=code_version(),
        model=model,
        requested_by=user(),
        challenger=challenger,
        challenger_stream=challenger_stream,
    )
    _run_all_steps(run, settings.work, as_json=as_json)


def _run_all_steps(run: RunConfig, work: Path, *, as_json: bool) -> None:
    """Run the steps, and publish the challenger if it passes the gate; then print the result.

    Raises:
        GateRejected: the challenger was rejected.
    """
    from bwpredict.documents import read_document
    from bwpredict.errors import GateRejected
    from bwpredict.pipeline import steps
    from bwpredict.workspace.references import local_file

    reference = steps.plan(run, work)
    todo = (steps.snapshot, steps.validate, steps.train, steps.export, steps.compare, steps.decide)
    for step in track(todo, "Retraining", "steps", len(todo)):
        logger.info("-- %s", step.__name__)
        reference = step(reference)
    decision = read_document(local_file(reference), "decision")
    card, publishes = local_file(reference, MODEL_CARD), decision["passed"] and not run.dry_run
    if not as_json:
        _show_accuracy(read_document(local_file(reference, COMPARISON), "comparison"))
    if publishes:
        steps.publish(reference)
    if as_json:
        print_json({"published": publishes, "work_area": card.parent, "model_card": card, "decision": decision})
    if decision["outcome"] == "reject":
        raise GateRejected(f"Nothing was published. Model card: {card}")
    if decision["outcome"] == "keep":
        logger.info("Production stays. Model card: %s", card)
    elif run.dry_run:
        logger.info("Nothing was published: this is a dry run. Model card: %s", card)
    else:
        logger.info("Model card: %s", card)


def _show_accuracy(comparison: dict[str, Any]) -> None:
    from bwpredict.reports.tables import tables

    accuracy, _, *intervals = tables(comparison)
    for table in (accuracy, *intervals):
        Console(highlight=False).print(table)
