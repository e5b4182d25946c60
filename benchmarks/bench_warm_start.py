"""A warm start from the champion, a month later on the same fleet: steps to the loss of training from scratch.

The champion is trained on a first period of telemetry. For a period that begins a month later, `--warm-start` trains a
model from scratch and the champion's weights on the same windows. The loss is that of the served forecasts on the later
period's validation windows, in typical changes of the model from scratch. Steps count from the start of each training,
over all its stages. The goals are the champion's loss at the end of its training, its loss a month later, and the best
loss from scratch.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from common import report, synthetic_frame

from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import Split, index_windows, split_windows
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.training.progress import Record, target_weights
from bwpredict.training.trainer import continue_champion, train
from bwpredict.training.validation import served_loss

FIRST, LATER = "2026-09-01", "2026-10-01"
Course = list[tuple[int, float]]
"""(steps done, loss) at the start and after each epoch."""


def main() -> None:
    """Train the champion, then both on the later stretch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=12)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--windows", type=int, default=10_000, help="training windows per epoch")
    parser.add_argument("--validation-windows", type=int, default=4_000)
    parser.add_argument("--epochs", type=int, default=9)
    arguments = parser.parse_args()
    config = TrainingConfig(
        epochs=arguments.epochs,
        windows_per_epoch=arguments.windows,
        validation_windows=arguments.validation_windows,
    )
    first, later = (_split(arguments, start) for start in (FIRST, LATER))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(first, config, folder / "champion.pth")
        champion = load_checkpoint(folder / "champion.pth")
        courses, loss_of = _courses(later, config, folder)
        before = loss_of(champion, first)
        goals = {
            "champion, at the end of its training": before,
            "champion, a month later": loss_of(champion, later),
            "best from scratch": min(loss for _, loss in courses["scratch"]),
        }
    report("warm_start", [row for goal, loss in goals.items() for row in _rows(goal, loss, courses)])


def _split(arguments: argparse.Namespace, start: str) -> Split:
    frame = synthetic_frame(arguments.links, arguments.days, start=start)
    return split_windows(index_windows(frame, 20, 15), SplitConfig())


def _courses(later: Split, config: TrainingConfig, folder: Path) -> tuple[dict[str, Course], Any]:
    """Both trainings on the later stretch, and what measures a model's loss on the validation part of a split."""
    weights = target_weights(frozenset(), torch.device("cpu"))
    files: dict[str, list[Path]] = {"scratch": [], "warm start": []}
    records: dict[str, list[Record]] = {name: [] for name in files}

    def note(name: str, checkpoint: Path, record: Record) -> None:
        records[name].append(record)
        kept = folder / f"{name}-{len(files[name])}.pth"
        kept.write_bytes(checkpoint.read_bytes())
        files[name].append(kept)

    path = folder / "scratch.pth"
    scratch = train(later, config, path, on_epoch=lambda record: note("scratch", path, record)).model
    warm_path, champion = folder / "warm.pth", load_checkpoint(folder / "champion.pth")
    continue_champion(champion, later, config, warm_path, on_epoch=lambda record: note("warm start", warm_path, record))

    def loss_of(model: Any, split: Split) -> float:
        return served_loss(model, split["validation"], config.validation_windows, weights, scratch.typical_change)

    courses: dict[str, Course] = {
        "scratch": [],
        "warm start": [(0, loss_of(load_checkpoint(folder / "champion.pth"), later))],
    }
    for name, kept in files.items():
        steps = 0
        for record, file in zip(records[name], kept, strict=True):
            steps += math.ceil(record["windows"] / config.batch_size)
            courses[name].append((steps, loss_of(load_checkpoint(file), later)))
    return courses, loss_of


def _rows(goal: str, loss: float, courses: dict[str, Course]) -> list[dict[str, Any]]:
    reached = {
        name: next((steps for steps, found in course if found <= loss), None) for name, course in courses.items()
    }
    scratch = reached["scratch"]
    return [
        {
            "loss to reach": goal,
            "loss": loss,
            "trained": name,
            "steps": steps,
            "of the steps from scratch %": 100 * steps / scratch if steps is not None and scratch else None,
            "best loss": min(found for _, found in courses[name]),
            "steps in all": courses[name][-1][0],
        }
        for name, steps in reached.items()
    ]


if __name__ == "__main__":
    main()
