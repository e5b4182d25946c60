"""Training over time: skill on the test windows after each epoch, as windows and as streams.

    make bench-training ARGS="--threads 1"

Prints a table, writes `training.json`, and says after how many seconds streams and windows reach the skill of the
network that the streaming LSTM replaced (`FORMER_SKILL`). Seconds exclude validation and scoring.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from accuracy import options, product
from accuracy.data import TEST, Dataset, datasets
from accuracy.task import Task, skill_over_last_value
from common import RESULTS, report

from bwpredict.inference.stream_model import forecast_stream
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.network import predict
from bwpredict.training.progress import Record
from bwpredict.training.trainer import train

NAME = "training"
DATASET, TEST_DAYS = "calm", 4
FORMER_SECONDS, FORMER_SKILL = 478.1, 0.317
"""Of the network that the streaming LSTM replaced, on the same days and one thread: its training, and the mean
skill of the targets after it, from 20 samples. It could not follow streams."""


def main(arguments: argparse.Namespace) -> None:
    """Train once, and score after each epoch."""
    terms = options.terms_of(arguments)
    (dataset,) = datasets([DATASET], None, options.shape_of(arguments, test_days=TEST_DAYS))
    rows = course(dataset, Task(dataset.split, terms.budget, terms.seeds[0]))
    report(NAME, rows, arguments.output or RESULTS)
    for consumer in ("windows", "streams"):
        reached = next((row["seconds"] for row in rows if row[f"skill of {consumer}"] >= FORMER_SKILL), None)
        print(f"{consumer}: skill {FORMER_SKILL} after {reached} s; the former network: {FORMER_SECONDS} s")


def course(dataset: Dataset, task: Task) -> list[dict[str, Any]]:
    """A row for each epoch that was better than those before it on validation."""
    rows: list[dict[str, Any]] = []
    index, seconds = dataset.tests[TEST], 0.0
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "best.pth")

        def on_epoch(record: Record) -> None:
            nonlocal seconds
            seconds += record["seconds"]
            if not record["best"]:
                return
            model = load_checkpoint(checkpoint)
            stream = forecast_stream(product.stream_in_torch(model), index).output
            rows.append(
                {
                    "epoch": record["epoch"],
                    "seconds": seconds,
                    "validation loss": record["validation_loss"],
                    "skill of windows": skill_over_last_value(task, index, predict(model, index.inputs())).mean(),
                    "skill of streams": skill_over_last_value(task, index, stream).mean(),
                }
            )

        train(task.split, product.training_config(task, {}), checkpoint, absent=task.absent, on_epoch=on_epoch)
    return rows


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command's options."""
    return options.parser(__doc__).parse_args(arguments)


if __name__ == "__main__":
    options.run_main(main, parse())
