"""Options of the commands that train, the same for all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bwpredict.config import TrainingConfig

DEFAULTS = TrainingConfig()

Architecture = Annotated[str, typer.Option(help="guide: LSTM layers and highway; dense: the highway alone.")]
HighwayEpochs = Annotated[int, typer.Option(help="Maximum epochs of the highway; each sees three times the windows.")]
Epochs = Annotated[int, typer.Option(help="Maximum epochs of the guide's layers; training stops early.")]
WindowsPerEpoch = Annotated[int, typer.Option(help="Windows drawn for each epoch.")]
BatchSize = Annotated[int, typer.Option(help="Windows for each step.")]
LearningRate = Annotated[float, typer.Option(help="Highest learning rate.")]
WindowSize = Annotated[int, typer.Option(help="Samples the model sees.")]
HorizonMinutes = Annotated[int, typer.Option(help="How far ahead it forecasts.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result, bit for bit.")]
Prune = Annotated[
    float, typer.Option("--prune", help="Share of each weight matrix to prune to zero, and fine-tune after; 0: none.")
]
FineTuneEpochs = Annotated[int, typer.Option(help="Maximum epochs of fine-tuning after pruning.")]
Quantize = Annotated[bool, typer.Option("--quantize", help="Export with int8 weights, for ONNX Runtime only.")]
Ranks = Annotated[int, typer.Option(help="Processes that train together, each on its share of every batch.")]
WarmStart = Annotated[
    bool, typer.Option("--warm-start", help="Also train the champion further, and keep the better of the two.")
]
WarmStartFile = Annotated[
    Path | None, typer.Option(help="A best_model.pth: also train it further, and keep the better model.")
]
AccumulationSteps = Annotated[int, typer.Option(help="Parts of a batch computed one after another: less memory.")]
ActivationCheckpointing = Annotated[
    bool, typer.Option("--activation-checkpointing", help="Compute the layers twice: less memory.")
]
TelemetryStore = Annotated[str | None, typer.Option(help="Store with the telemetry (default: $BWPREDICT_TELEMETRY).")]
SplitBy = Annotated[
    str, typer.Option(help="calendar: one cut in time for all links; link: each link's own time is cut.")
]
TrainingFile = Annotated[
    str,
    typer.Option(
        "--training-config",
        help="Hyperparameters: a YAML file, or a name approved in the registry. Options given here win over it.",
    ),
]


def is_given(context: typer.Context, option: str) -> bool:
    """Whether the user gave the option, be it with its default value."""
    return (source := context.get_parameter_source(option)) is not None and source.name == "COMMANDLINE"
