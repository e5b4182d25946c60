"""Ablations: what each choice of ours brings, over seeds, by validation and by test skill.

    make bench-ablations ARGS="--dataset calm --seeds 1,2,3"
    make bench-ablations ARGS="--variants 'learning rate 1e-3' --seeds 1"

Prints a table and keeps `ablations.json`. Rows of other data sets and variants stay in the document as they
are; each names its own machine, code and terms. The first variant is always run: gains are over it, seed by seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from accuracy import options, product
from accuracy.data import TEST, Dataset, datasets
from accuracy.run import Terms
from accuracy.task import Task, absolute_errors
from common import RESULTS, machine, show, write
from torch import Tensor

from bwpredict import schema
from bwpredict.core.code_version import code_version
from bwpredict.datasets.windows import WindowIndex
from bwpredict.errors import ConfigError
from bwpredict.evaluation.baselines import baseline_forecasts
from bwpredict.models.network import ARCHITECTURES, Forecaster
from bwpredict.training import batches, loop

Floats = npt.NDArray[np.float64]


NAME = "ablations"
AS_IT_IS = "as it is"
VARIANTS: dict[str, dict[str, Any]] = {
    AS_IT_IS: {},
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


def _without_lstm(model: Forecaster, sequence: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """In place of `Forecaster._recurrent`: the head sees nothing, and the direct path the moving averages."""
    units = ARCHITECTURES[model.architecture].lstm[-1]
    return 0 * sequence[..., :1].expand(-1, -1, units), hidden


REPLACED: dict[str, tuple[Any, str, Any]] = {
    "no jumps": (batches, "JUMP_SHARE", 0.0),
    "no gaps": (batches, "GAP_SHARE", 0.0),
    "no unfamiliar windows": (batches, "UNFAMILIAR_SHARE", 0.0),
    "no LSTM": (Forecaster, "_recurrent", _without_lstm),
    "half the streams": (loop, "STREAMS_SHARE", loop.STREAMS_SHARE / 2),
}
"""Name → what stands in the place of a part of training that has no setting: module, name and substitute."""


def main(arguments: argparse.Namespace) -> None:
    """Run the variants one after another; what is done is kept after each of them."""
    folder: Path = arguments.output or RESULTS
    terms = options.terms_of(arguments)
    names = variants_of(options.names_of(arguments.variants))
    chosen = options.dataset_names([arguments.dataset], arguments.recordings)
    (dataset,) = datasets(chosen, arguments.recordings, options.shape_of(arguments))
    rows: list[dict[str, Any]] = []
    reference: list[Floats] = []
    for name in names:
        row, skills = run_variant(dataset, name, terms, reference)
        reference = reference or skills
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
    return [name for name in every if name == AS_IT_IS or wanted is None or name in wanted]


def run_variant(
    dataset: Dataset, name: str, terms: Terms, reference: Sequence[Floats]
) -> tuple[dict[str, Any], list[Floats]]:
    """The variant's row, and for each seed its test skill [measured targets]; `reference`: the first variant's."""
    validation: list[Floats] = []
    test: list[Floats] = []
    streams: list[Floats] = []
    seconds: list[float] = []
    for seed in terms.seeds:
        task = Task(dataset.split, terms.budget, seed)
        began = time.perf_counter()
        with mock.patch.object(*REPLACED[name]) if name in REPLACED else nullcontext():
            fitted = product.fit_with(overrides_of(name), variant=name)(task)
        seconds.append(time.perf_counter() - began)
        stream = product.fit_with(overrides_of(name), variant=name, stream=True)(task)
        index = dataset.tests[TEST]
        for fit, on, skills in ((fitted, task.validation, validation), (fitted, index, test), (stream, index, streams)):
            skills.append(_skill(on, fit.forecast(on), task.measured))
        print(f"{name}, seed {seed}: test skill {test[-1].mean():.4f}, of streams {streams[-1].mean():.4f}")
    gains = [own.mean() - first.mean() for own, first in zip(test, reference or test, strict=True)]
    row = {
        "dataset": dataset.name,
        "variant": name,
        "validation skill": float(np.mean(validation)),
        "± validation": _spread([skill.mean() for skill in validation]),
        "test skill": float(np.mean(test)),
        "± test": _spread([skill.mean() for skill in test]),
        "stream skill": float(np.mean(streams)),
        "± stream": _spread([skill.mean() for skill in streams]),
        "gain": float(np.mean(gains)),
        "± gain": _spread(gains),
        **{
            schema.TARGETS[place]: float(np.mean([skill[number] for skill in test]))
            for number, place in enumerate(task.measured)
        },
        "parameters": fitted.parameters,
        "training s": float(np.mean(seconds)),
        "digest": dataset.digest,
        "overrides": overrides_of(name),
        "budget": asdict(terms.budget),
        "seeds": list(terms.seeds),
    }
    return row, test


def overrides_of(name: str) -> dict[str, Any]:
    """What the variant changes in the configuration."""
    return VARIANTS.get(name, {})


def _skill(index: WindowIndex, forecasts: npt.NDArray[np.float32], measured: Sequence[int]) -> Floats:
    """[measured targets], 1 - MAE / MAE of the last value."""
    last = baseline_forecasts(index)["last_value"]
    own, persistence = (absolute_errors(index, each)[:, measured].mean(axis=0) for each in (forecasts, last))
    return np.asarray(1 - own / persistence)


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds; None of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _keep(folder: Path, row: dict[str, Any]) -> None:
    """Put the row into the document in `folder`, in place of an earlier one of the same data set and variant."""
    path = folder / f"{NAME}.json"
    before = json.loads(path.read_text("utf-8"))["rows"] if path.is_file() else []
    rows = {(each["dataset"], each["variant"]): each for each in [*before, row]}
    write(path, {"benchmark": NAME, "rows": list(rows.values())})


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = options.parser(__doc__)
    parser.add_argument("--dataset", default="calm", help="a regime, or a recording by name")
    parser.add_argument("--recordings", type=Path, help="folder with real recordings, CSV or Parquet")
    parser.add_argument("--variants", help="comma-separated (default: all)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
