"""Time to quality: seconds until a fixed validation loss, by a plain loop, by Lightning, and by ours.

All see the same windows. The loss is of the forecasts in raw units: mean absolute error in log space, in typical
changes, on the same validation windows; the time for validation does not count. The loss to reach is the best that
the plain loop with the guide's formulation gets to, and the best that it gets to with our model: two rows each.
A start that is solved (our linear forecast) counts with the time it takes. All run on the CPU: this benchmark has no
rows for a GPU, and says so where there is one.
"""

from __future__ import annotations

import argparse
import copy
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import report, synthetic_frame
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.windows import Split, WindowIndex, index_windows, split_windows
from bwpredict.models.layers import GuideLayers
from bwpredict.models.network import Contract, Forecaster, load_checkpoint
from bwpredict.training.loss import BatchLoss
from bwpredict.training.progress import Record
from bwpredict.training.trainer import train

BATCH_SIZE, LEARNING_RATE = 64, 1e-3
"""The guide's."""
WEIGHTS = torch.full((len(schema.TARGETS),), 1 / len(schema.TARGETS))
TARGETS = len(schema.TARGETS)


@dataclass
class _Course:
    """How a way of training got on: seconds and validation loss, from its start."""

    name: str
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def reached(self, loss: float) -> float | None:
        """Seconds until the loss was first reached."""
        return next((at for at, found in zip(self.seconds, self.losses, strict=True) if found <= loss), None)


class _Measure:
    """The common validation loss; its own time is left out of a course."""

    def __init__(self, validation: WindowIndex, typical_change: Tensor) -> None:
        self.inputs, self.targets = torch.from_numpy(validation.inputs()), torch.from_numpy(validation.targets())
        self.offset = Forecaster(Contract()).offset
        self.typical_change = typical_change
        self.wanted = torch.log(self.targets.clamp(min=0) + self.offset)

    def start(self, name: str) -> None:
        """Begin a course."""
        self.course, self.began, self.paused = _Course(name), time.monotonic(), 0.0

    def __call__(self, forecast: Callable[[Tensor], Tensor]) -> float:
        """Note where the forecasts in raw units are now."""
        now = time.monotonic()
        with torch.inference_mode():
            forecasts = torch.cat([forecast(inputs) for inputs in self.inputs.split(1024)])
            logs = torch.log(forecasts.clamp(min=0) + self.offset)
            loss = float(((logs - self.wanted).abs() / self.typical_change).mean())
        self.course.losses.append(loss)
        self.course.seconds.append(now - self.began - self.paused)
        self.paused += time.monotonic() - now
        return loss


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    """One window at a time, as a plain PyTorch program has it."""

    def __init__(self, index: WindowIndex) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        which = np.array([item])
        return torch.from_numpy(self.index.inputs(which)[0]), torch.from_numpy(self.index.targets(which)[0])


class _Guide(nn.Module):
    """The training guide's layers on z-scores over all links, MSE."""

    def __init__(self, sample: WindowIndex) -> None:
        super().__init__()
        values = torch.from_numpy(sample.inputs()).flatten(0, 1).double()
        self.register_buffer("mean", values.mean(dim=0).float())
        self.register_buffer("scale", values.std(dim=0).clamp(min=1e-9).float())
        self.layers = GuideLayers(len(schema.FEATURES))
        self.layers.output.reset_parameters()  # the product starts it at zero, the guide does not

    def forward(self, windows: Tensor) -> Tensor:
        outputs: Tensor = self.layers((windows - self.mean) / self.scale)
        return outputs * self.scale[:TARGETS] + self.mean[:TARGETS]

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        outputs = self.layers((inputs - self.mean) / self.scale)
        return nn.functional.mse_loss(outputs, (targets - self.mean[:TARGETS]) / self.scale[:TARGETS])


class _Ours(nn.Module):
    """Our model and loss, as another loop trains them."""

    def __init__(self, model: Forecaster) -> None:
        super().__init__()
        self.model = model

    def forward(self, windows: Tensor) -> Tensor:
        forecast: Tensor = self.model(windows)
        return forecast

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = BatchLoss(self.model, WEIGHTS)(inputs, targets)
        return loss


def main() -> None:
    """Train each way once, and report the seconds to the two losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, default=12)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--windows", type=int, default=10_000, help="training windows, the same for all")
    parser.add_argument("--validation-windows", type=int, default=4_000)
    parser.add_argument("--epochs", type=int, default=8, help="of the plain loop and of Lightning")
    parser.add_argument("--our-epochs", type=int, nargs=2, default=[12, 3], help="of the highway, of the layers")
    arguments = parser.parse_args()
    logging.getLogger("lightning").setLevel(logging.ERROR)
    if torch.cuda.is_available():
        print("There is a GPU; it is not measured here.")
    split = _split(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = TrainingConfig(
            highway_epochs=arguments.our_epochs[0],
            epochs=arguments.our_epochs[1],
            windows_per_epoch=arguments.windows,
            validation_windows=arguments.validation_windows,
            raw_error_share=0.0,  # as the common loss has it
        )
        began = time.monotonic()
        start = _solved(split, config, Path(folder))
        solved_seconds = time.monotonic() - began
        measure = _Measure(split["validation"].spread(arguments.validation_windows), start.typical_change)
        ours = _ours(split, config, Path(folder), measure)
    guide = _plain(_Guide(split["train"]), "plain loop, the guide's formulation", split, arguments.epochs, measure)
    grown = Forecaster(start.contract, "guide")
    grown.load_state_dict(start.state_dict(), strict=False)
    same = _plain(_Ours(copy.deepcopy(grown)), "plain loop, our model", split, arguments.epochs, measure)
    lightning = _lightning(_Ours(copy.deepcopy(grown)), split, arguments.epochs, measure)
    for course in (same, lightning):  # they begin with our solved forecast, so they pay for it
        course.seconds = [seconds + solved_seconds for seconds in course.seconds]
    courses = [guide, same, lightning, ours]
    report("training", [row for goal in (guide, same) for row in _rows(courses, goal)])


def _split(arguments: argparse.Namespace) -> Split:
    split = split_windows(index_windows(synthetic_frame(arguments.links, arguments.days), 20, 15), SplitConfig())
    split.parts["train"] = split["train"].spread(arguments.windows)
    return split


def _solved(split: Split, config: TrainingConfig, folder: Path) -> Forecaster:
    """Our model before any step: what `train` writes before its first epoch."""

    def stop(record: Record) -> None:
        raise InterruptedError(record["epoch"])

    tiny = config.model_copy(update={"windows_per_epoch": 64, "architecture": "dense", "learning_rate": 1e-12})
    try:
        train(split, tiny, folder / "solved.pth", on_epoch=stop)
    except InterruptedError:
        return load_checkpoint(folder / "solved.pth")
    raise AssertionError


def _ours(split: Split, config: TrainingConfig, folder: Path, measure: _Measure) -> _Course:
    measure.start("ours")

    def note(_: Record) -> None:
        measure(load_checkpoint(folder / "best.pth"))

    train(split, config, folder / "best.pth", on_epoch=note)
    return measure.course


def _plain(network: _Guide | _Ours, name: str, split: Split, epochs: int, measure: _Measure) -> _Course:
    """DataLoader, batch 64, Adam, ReduceLROnPlateau, as a tutorial has it."""
    torch.manual_seed(42)
    loader = DataLoader(_Windows(split["train"]), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    measure.start(name)
    for _ in range(epochs):
        network.train()
        for inputs, targets in loader:
            optimizer.zero_grad()
            network.loss(inputs, targets).backward()
            optimizer.step()
        network.eval()
        schedule.step(measure(network))
    return measure.course


def _lightning(network: _Ours, split: Split, epochs: int, measure: _Measure) -> _Course:
    import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return self.network.loss(*batch)

        def on_train_epoch_end(self) -> None:
            self.network.eval()
            loss = measure(self.network)
            self.network.train()
            self.schedule.step(loss)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)
            self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
            return optimizer

    lightning.seed_everything(42)
    loader = DataLoader(_Windows(split["train"]), batch_size=BATCH_SIZE, shuffle=True, drop_last=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_model_summary=False, **quiet)
    measure.start("PyTorch Lightning, our model")
    trainer.fit(Module(), loader)
    return measure.course


def _rows(courses: list[_Course], goal: _Course) -> list[dict[str, Any]]:
    """A row for each course: when it reached the best loss of `goal`."""
    loss = min(goal.losses)
    plain = goal.reached(loss)
    rows = []
    for course in courses:
        seconds = course.reached(loss)
        rows.append(
            {
                "loss to reach": f"best of {goal.name}",
                "loss": loss,
                "trained by": course.name,
                "seconds": seconds,
                "times faster": plain / seconds if plain and seconds else None,
                "best loss": min(course.losses),
                "seconds in all": course.seconds[-1],
            }
        )
    return rows


if __name__ == "__main__":
    main()
