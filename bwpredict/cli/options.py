"""Options of the commands that train. Those of the training itself are generated from `TrainingConfig`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bwpredict.config import TrainingConfig

DEFAULTS = TrainingConfig()

Quantize = Annotated[bool, typer.Option("--quantize", help="Export with int8 weights, for ONNX Runtime only.")]
WarmStartFile = Annotated[
    Path | None, typer.Option(help="A best_model.pth to train further as well; the better model is kept.")
]
TelemetryStore = Annotated[str | None, typer.Option(help="Store with the telemetry (default: $BWPREDICT_TELEMETRY).")]
Month = Annotated[str, typer.Option(help="Month of telemetry, YYYY-MM (UTC).")]
Registry = Annotated[str | None, typer.Option(help="Store with the models (default: $BWPREDICT_REGISTRY).")]
Work = Annotated[Path | None, typer.Option(help="Folder for the work areas of the runs (default: $BWPREDICT_WORK).")]
HistoryMonths = Annotated[int, typer.Option(help="Months to read, including the last one.")]
ForceBootstrap = Annotated[bool, typer.Option("--force-bootstrap", help="Ignore the champion in the verdict.")]
AcceptTelemetry = Annotated[
    bool, typer.Option("--accept-telemetry", help="Continue even if the telemetry fails validation.")
]
OverrideReason = Annotated[
    str, typer.Option(help="Reason for --force-bootstrap or --accept-telemetry; the decision shows it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Stop after the decision.")]
Policy = Annotated[str, typer.Option(help="Gate policy: a name of `policy list`, or a YAML file.")]
SplitBy = Annotated[
    str, typer.Option(help="calendar: split all links at the same times; link: split the time span of each link.")
]
TrainingFile = Annotated[
    str,
    typer.Option(
        "--training-config",
        help="Hyperparameters: a YAML file, or a name approved in the registry. Options take precedence over it.",
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result, bit for bit.")]
WindowsPerEpoch = Annotated[int, typer.Option(help="Windows drawn for each epoch.")]


def training_options(*, leave_out: tuple[str, ...] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each field of `TrainingConfig`; it receives them as the dict `training`."""
    names = [name for name in TrainingConfig.model_fields if name not in leave_out]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**values: Any) -> None:
            training = {name: values.pop(name) for name in names}
            command(**values, training=training)

        signature = inspect.signature(command, eval_str=True)
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "training"]
        parameters = [*own, *(_training_option(name) for name in names)]
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _training_option(name: str) -> inspect.Parameter:
    field = TrainingConfig.model_fields[name]
    kind = field.annotation if field.annotation in (bool, int, float) else str
    description = field.description or ""
    text = f"{description[:1].upper()}{description[1:]}."
    option = typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel="Training")
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[kind, option]
    )


def is_given(context: typer.Context, option: str) -> bool:
    """Whether the user gave the option, even with its default value."""
    return (source := context.get_parameter_source(option)) is not None and source.name == "COMMANDLINE"
