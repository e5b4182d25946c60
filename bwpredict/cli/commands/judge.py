"""The command line's `bwpredict judge`: the steps of `retrain` for a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bwpredict.cli import options
from bwpredict.cli.commands.retrain import model_and_settings, run_steps
from bwpredict.cli.registry_option import AsJson, Model
from bwpredict.gate.policies import DEFAULT


def judge(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The model: ONNX, with the inputs and outputs of docs/judge.md.")],
    month: options.Month,
    stream: Annotated[
        Path | None, typer.Option(help="The same model for consumers that keep a state for each link, also ONNX.")
    ] = None,
    trained_through: Annotated[
        str,
        typer.Option(
            help="Last day that its training, validation or scaling saw (YYYY-MM-DD, UTC), or 'never'; without it, and"
            " without that property in the file, nothing is published."
        ),
    ] = "",
    trained_on: Annotated[str, typer.Option(help="What it was trained on, in your words, for the record.")] = "",
    model: Model = "",
    telemetry: options.TelemetryStore = None,
    registry: options.Registry = None,
    work: options.Work = None,
    history_months: options.HistoryMonths = 1,
    force_bootstrap: options.ForceBootstrap = False,
    accept_telemetry: options.AcceptTelemetry = False,
    override_reason: options.OverrideReason = "",
    dry_run: options.DryRun = False,
    policy: options.Policy = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Judge a model trained elsewhere, and publish it if it passes: the steps of `retrain` without training.

    It is compared on the month's test days that come after --trained-through. Exit code 1: rejected; 2: the file cannot
    be judged.
    """
    named, settings = model_and_settings(model, telemetry=telemetry, registry=registry, work=work)
    params = {
        "month": month,
        "trained_through": trained_through,
        "trained_on": trained_on,
        "history_months": history_months,
        "force_bootstrap": force_bootstrap,
        "accept_telemetry": accept_telemetry,
        "override_reason": override_reason,
        "dry_run": dry_run,
        "policy": policy,
    }
    given = {name: value for name, value in params.items() if options.is_given(context, name)}
    run_steps(given, settings, named, challenger=file, challenger_stream=stream, as_json=as_json)
