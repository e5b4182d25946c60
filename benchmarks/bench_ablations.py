"""Ablations: what each design choice contributes, over seeds, by validation and test skill.

    make bench-ablations ARGS="--dataset calm --seeds 1,2,3"
    make bench-ablations ARGS="--variants 'learning rate 1e-3' --seeds 1"

Prints a table with two rows for each variant, one for windows and one for streams, and writes `ablations.json`. Rows of
other data sets and variants in that file do not change; each row names its machine, code and terms. The first variant
always runs: gains are relative to it, seed by seed. The networks are scored in torch, since exporting every variant
would take as long as training it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from accuracy import options, product
from accuracy.data import TEST, Dataset, datasets
from accuracy.run import Terms
from accuracy.task import Task, skill_over_last_value
from common import RESULTS, machine, show, write
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.core.code_version import code_version
from bwpredict.errors import ConfigError
from bwpredict.inference.stream_model import forecast_stream
from bwpredict.models.features import FeatureLayer, Features
from bwpredict.models.network import ARCHITECTURES, Forecaster, parameter_count, predict
from bwpredict.training import batches, loop, post_fit

Floats = npt.NDArray[np.float64]


NAME = "ablations"
DEFAULT = "default"
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "the guide's layers": {"architecture": "guide"},
    "relative errors alone": {"raw_error_share": 0.0},
    "raw errors alone": {"raw_error_share": 1.0},
    "the target's minute alone": {"target_smoothing": 0},
    "30 epochs": {"epochs": 30},
    "batch 256": {"batch_size": 256},
    "learning rate 1e-3": {"learning_rate": 1e-3},
    "no weight decay": {"weight_decay": 0.0},
}
"""Name → what differs from the default TrainingConfig. Add rows here."""


_input_layer, _dense = FeatureLayer._sequence, Forecaster._dense  # noqa: SLF001 - they are what is replaced
_window_inputs = FeatureLayer.window_inputs


def _without_lstm(model: Forecaster, sequence: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """In place of `Forecaster._recurrent`: the head sees the moving averages themselves."""
    units = ARCHITECTURES[model.architecture].lstm[-1]
    padded = torch.nn.functional.pad(sequence, (0, max(0, units - sequence.shape[-1])))
    return padded[..., :units], hidden


def _without_averages(
    layer: FeatureLayer,
    filled: Tensor,
    means: tuple[Tensor, ...],
    step: Tensor,
    scale: Tensor,
    situation: Tensor,
    weights: tuple[Tensor, ...],
) -> Tensor:
    """In place of `FeatureLayer._sequence`: the anchor is the only average, so differences between them are 0."""
    anchors, of_anchor = (means[0],) * len(means), (weights[0],) * len(weights)
    return _input_layer(layer, filled, anchors, step, scale, situation, of_anchor)


def _without_direct(model: Forecaster, layers: nn.Module, inputs: Tensor) -> Tensor:
    """In place of `Forecaster._dense`: the linear path past the LSTM adds nothing."""
    return _dense(model, layers, inputs) * (layers is not model.direct)


def _without_level_noise(
    layer: FeatureLayer, features: Features, _noise: Tensor | None = None, familiar: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """In place of `FeatureLayer.window_inputs`: windows show the levels that were measured."""
    return _window_inputs(layer, features, None, familiar)


REPLACED: dict[str, tuple[Any, str, Any]] = {
    "moving averages alone": (Forecaster, "_recurrent", _without_lstm),
    "LSTM alone": (FeatureLayer, "_sequence", _without_averages),
    "no direct inputs": (Forecaster, "_dense", _without_direct),
    "no jumps": (batches, "JUMP_SHARE", 0.0),
    "no level noise": (FeatureLayer, "window_inputs", _without_level_noise),
    "no window head in streams": (post_fit, "_choose_memory", lambda *_: None),
    "no gaps": (batches, "GAP_SHARE", 0.0),
    "no unfamiliar windows": (batches, "UNFAMILIAR_SHARE", 0.0),
    "half the streams": (loop, "STREAMS_SHARE", loop.STREAMS_SHARE / 2),
}
"""Name → what stands in the place of a part of training that has no setting: module, name and substitute."""
WINDOWS, STREAM = "windows", "stream"
CONSUMERS = (WINDOWS, STREAM)


def main(arguments: argparse.Namespace) -> None:
    """Run the variants one after another; what is done is kept after each of them."""
    folder: Path = arguments.output or RESULTS
    terms = options.terms_of(arguments)
    names = variants_of(options.names_of(arguments.variants))
    chosen = options.dataset_names([arguments.dataset], arguments.recordings)
    (dataset,) = datasets(chosen, arguments.recordings, options.shape_of(arguments))
    rows: list[dict[str, Any]] = []
    reference: dict[str, list[Floats]] = {}
    for name in names:
        measured = measure(dataset, name, terms)
        reference = reference or measured.test
        for row in rows_of(dataset, measured, terms, reference):
            rows.append(row)
            _keep(folder, {**row, "machine": machine(), "code_version": code_version()})
    show(f"{NAME}: {dataset.name}", [{key: row[key] for key in row if key not in _TERMS} for row in rows])
    print(f"Kept: {folder / f'{NAME}.json'}")


_TERMS = ("dataset", "digest", "overrides", "budget", "seeds")


def variants_of(wanted: Sequence[str] | None) -> list[str]:
    """The variants to run, the first always among them. Raises ConfigError for an unknown name."""
    every = [*VARIANTS, *REPLACED]
    unknown = [name for name in wanted or () if name not in every]
    if unknown:
        raise ConfigError(f"variants: {unknown[0]!r} is not known; expected some of {', '.join(every)}.")
    return [name for name in every if name == DEFAULT or wanted is None or name in wanted]


@dataclass
class Measured:
    """One variant, over the seeds."""

    variant: str
    validation: dict[str, list[Floats]]
    """Of each of `CONSUMERS`, for each seed: skill [measured targets]."""
    test: dict[str, list[Floats]]
    seconds: list[float]
    parameters: int = 0


def measure(dataset: Dataset, name: str, terms: Terms) -> Measured:
    """Train the variant with each seed, and score its windows and its streams."""
    made = Measured(name, {each: [] for each in CONSUMERS}, {each: [] for each in CONSUMERS}, [])
    for seed in terms.seeds:
        task = Task(dataset.split, terms.budget, seed)
        began = time.perf_counter()
        with mock.patch.object(*REPLACED[name]) if name in REPLACED else nullcontext():
            network = product.trained_network(task, overrides_of(name))
            made.seconds.append(time.perf_counter() - began)
            made.parameters = parameter_count(network)
            for index, skills in ((task.validation, made.validation), (dataset.tests[TEST], made.test)):
                stream = forecast_stream(product.stream_in_torch(network), index).output
                for consumer, forecasts in ((WINDOWS, predict(network, index.inputs())), (STREAM, stream)):
                    skills[consumer].append(skill_over_last_value(task, index, forecasts))
        for consumer in CONSUMERS:
            print(f"{name}, seed {seed}, {consumer}: test skill {made.test[consumer][-1].round(4)}", flush=True)
    return made


def rows_of(
    dataset: Dataset, measured: Measured, terms: Terms, reference: dict[str, list[Floats]]
) -> list[dict[str, Any]]:
    """The variant's rows; `reference`: the first variant's test skills."""
    names = [schema.TARGETS[place] for place in Task(dataset.split, terms.budget, 0).measured]
    return [
        {
            "dataset": dataset.name,
            "variant": measured.variant,
            "consumer": consumer,
            **_mean_and_spread("validation", [skill.mean() for skill in measured.validation[consumer]]),
            **_mean_and_spread("test", [skill.mean() for skill in test]),
            **_mean_and_spread(
                "gain", [own.mean() - first.mean() for own, first in zip(test, reference[consumer], strict=True)]
            ),
            **dict(zip(names, np.mean(test, axis=0).tolist(), strict=True)),
            "parameters": measured.parameters,
            "training s": float(np.mean(measured.seconds)),
            "digest": dataset.digest,
            "overrides": overrides_of(measured.variant),
            "budget": asdict(terms.budget),
            "seeds": list(terms.seeds),
        }
        for consumer, test in measured.test.items()
    ]


def overrides_of(name: str) -> dict[str, Any]:
    """What the variant changes in the configuration."""
    return VARIANTS.get(name, {})


def _mean_and_spread(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Over seeds; the standard deviation of a single one is None."""
    return {name: float(np.mean(values)), f"± {name}": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def _keep(folder: Path, row: dict[str, Any]) -> None:
    """Put the row into the document in `folder`, in place of an earlier one of its data set, variant and consumer."""
    path = folder / f"{NAME}.json"
    before = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    key = ("dataset", "variant", "consumer")
    rows = {tuple(each.get(name) for name in key): each for each in [*before, row]}  # earlier ones have no consumer
    write(path, {"benchmark": NAME, "rows": list(rows.values())})


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = options.parser(__doc__)
    parser.add_argument("--dataset", default="calm", help="a regime of the generator, or the name of a recording")
    parser.add_argument("--recordings", type=Path, help="folder with real recordings, CSV or Parquet")
    parser.add_argument("--variants", help="comma-separated (default: all)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
