"""Coverage of the 90 % prediction intervals: how often the actual value is between `lower` and `upper`.

    make bench-coverage
    make bench-coverage ARGS="--architecture guide --seeds 1,2,3"

Trains and calibrates one model for each regime of the generator and each seed, as the product does. Measures coverage
on the test days, on links of the training and on unseen links. In "drifting", all test days have drifted and no
calibration day has. Prints a table and writes `coverage.json`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import options
from accuracy.data import REGIMES, Dataset, synthetic
from accuracy.product import training_config
from accuracy.task import Budget, Task
from common import RESULTS, report

from bwpredict import schema
from bwpredict.models.network import ARCHITECTURES, predict_all
from bwpredict.training.intervals import calibrate
from bwpredict.training.trainer import train

BATCH_WINDOWS = 4096


def main(arguments: argparse.Namespace) -> None:
    """Train, calibrate and measure, regime by regime."""
    budget = Budget(arguments.budget_windows, arguments.epochs)
    rows: list[dict[str, Any]] = []
    for regime in REGIMES:
        dataset = synthetic(regime, options.shape_of(arguments))
        for seed in arguments.seeds:
            rows += coverage_rows(dataset, Task(dataset.split, budget, seed), arguments.architecture)
    report("coverage", rows, arguments.output or RESULTS)


def coverage_rows(dataset: Dataset, task: Task, architecture: str) -> list[dict[str, Any]]:
    """For each set of test windows the share of actual values within the intervals, target by target."""
    config = training_config(task, {"architecture": architecture})
    with tempfile.TemporaryDirectory() as folder:
        model = train(task.split, config, Path(folder, "best.pth")).model
    calibrate(model, task.split)
    rows = []
    for name, index in dataset.tests.items():
        inside = []
        for begin in range(0, len(index), BATCH_WINDOWS):
            batch = slice(begin, begin + BATCH_WINDOWS)
            forecast, actual = predict_all(model, index.inputs(batch)), index.targets(batch)
            inside.append((forecast["lower"] <= actual) & (actual <= forecast["upper"]))
        shares = np.concatenate(inside).mean(axis=0)
        targets = dict(zip(schema.TARGETS, map(float, shares), strict=True))
        rows.append({"regime": dataset.name, "links": name, "architecture": architecture, "seed": task.seed, **targets})
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    parser = options.parser(__doc__)
    parser.set_defaults(seeds=(1,))
    parser.add_argument("--architecture", choices=sorted(ARCHITECTURES), default="compact")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
