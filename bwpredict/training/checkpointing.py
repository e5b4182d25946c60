"""What a training leaves behind for the process that continues it, should its own be killed.

One file, replaced as a whole every few seconds: model, optimizer, the streams' state, how far the stage is, the
records, and the best model so far; where a store shares the work areas, it is sent there each time. Whoever
continues computes what the killed process would have: on CPU the weights come out the same, bit for bit. The file is
loaded without running code from it (`weights_only`).
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bwpredict.datasets.windows import BLOCK_ROWS, Split
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.network import Contract, Forecaster
from bwpredict.store.files import write_atomically
from bwpredict.training.progress import Progress, Training

if TYPE_CHECKING:
    from bwpredict.config import TrainingConfig

logger = logging.getLogger(__name__)

State = dict[str, Any]
EVERY_SECONDS = 30.0
_PROGRESS = ("records", "best_epoch", "best_loss", "interruptions")


@dataclass
class Resume:
    """Where a training leaves its state, how often, and what it found there.

    A file of another training (other windows, configuration or code) is named in the log, and not continued.
    """

    path: Path
    every_seconds: float = EVERY_SECONDS
    """0: after each step."""
    writes: bool = True
    """Several ranks continue from one file, which the first writes."""
    share: Callable[[Path], None] | None = None
    """Sends the file to where other machines find it."""
    _identity: dict[str, str] = field(default_factory=dict)
    _found: State | None = None
    _last: float = field(default_factory=time.monotonic)

    def look(self, identity: dict[str, str]) -> None:
        """Read the file, if there is one, for the training that `identity` describes."""
        self._identity, self._last = identity, time.monotonic()
        self._found = _read(self.path, identity)

    @property
    def stage(self) -> str | None:
        """The stage in which the training was killed; None: it begins."""
        return self._found["stage"] if self._found and "stage" in self._found else None

    def finished(self, checkpoint: Path) -> Training | None:
        """The result, if the training was over when its process was killed; its checkpoint is written again."""
        if not self._found or "history" not in self._found:
            return None
        _restore_best(self._found, checkpoint)
        return Training(load_checkpoint(checkpoint), self._found["history"])

    def restore(self, progress: Progress) -> Forecaster:
        """Set records and best model back to those of the file; returns its model, on the CPU."""
        assert self._found is not None  # noqa: S101 - `stage` said so
        _restore_best(self._found, progress.checkpoint)
        for name in _PROGRESS:
            setattr(progress, name, self._found[name])
        progress.spent_seconds = self._found["seconds"]
        progress.interruptions += 1
        model = Forecaster(Contract(**self._found["contract"]), self._found["architecture"])
        model.load_state_dict(self._found["model"])
        logger.info("continuing in %s, update %d", self._found["stage"], self._found["position"]["update"])
        return model

    def take(self, stage: str) -> State | None:
        """The state within this stage, once: {model, optimizer, position}."""
        if self.stage != stage:
            return None
        found, self._found = self._found, None
        return found

    def save_if_due(
        self,
        progress: Progress,
        model: Forecaster,
        optimizer: torch.optim.Optimizer,
        stage: str,
        position: dict[str, Any],
    ) -> None:
        """Write the state, if the last time is long enough ago. A disk that is full is said, and costs no training."""
        if not self.writes or time.monotonic() - self._last < self.every_seconds:
            return
        state = {
            "stage": stage,
            "position": position,
            "contract": vars(model.contract),
            "architecture": model.architecture,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "seconds": progress.seconds,
            **{name: getattr(progress, name) for name in _PROGRESS},
        }
        try:
            self._write(state, progress.checkpoint)
        except OSError as error:
            logger.warning("%s: cannot be written (%s); were the training killed now, it would continue from"
                           " an earlier point.", self.path, error.strerror or error)  # fmt: skip
        self._last = time.monotonic()

    def finish(self, training: Training, checkpoint: Path) -> None:
        """Leave the result, so that what comes after the training can be killed too."""
        if self.writes:
            self._write({"history": training.history}, checkpoint)

    def _write(self, state: State, checkpoint: Path) -> None:
        best = torch.frombuffer(bytearray(checkpoint.read_bytes()), dtype=torch.uint8)
        content = io.BytesIO()  # a disk that fills up is then an error of the operating system, with its reason
        torch.save({"identity": self._identity, "best": best, **state}, content)
        write_atomically(self.path, content.getvalue())
        if self.share:
            self.share(self.path)


def identity(split: Split, config: TrainingConfig, absent: frozenset[str], start: nn.Module | None) -> dict[str, str]:
    """What two processes must agree on to work on one training, each part by name."""
    windows = hashlib.sha256()
    frame = split["train"].frame
    for begin in range(0, frame.rows, BLOCK_ROWS):
        windows.update(np.ascontiguousarray(frame.values[begin : begin + BLOCK_ROWS]).data)
        frame.release()
    for part in ("train", "validation"):
        windows.update(split[part].positions.first.tobytes() + split[part].positions.past.tobytes())
    sources = (path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    first = start.state_dict().values() if start is not None else ()
    return {
        "telemetry": windows.hexdigest(),
        "configuration": json.dumps([config.model_dump(mode="json"), sorted(absent)]),
        "code": _sha256([torch.__version__.encode(), *sources]),  # other code may compute other weights
        "first model": _sha256(value.cpu().contiguous().numpy().tobytes() for value in first) if first else "",
    }


def _read(path: Path, identity: dict[str, str]) -> State | None:
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
        differs = [name for name, value in identity.items() if state["identity"].get(name) != value]
    except FileNotFoundError:
        return None
    except Exception as error:  # noqa: BLE001 - torch raises whatever a damaged file makes it raise
        problem = f"is no state of a training ({type(error).__name__})"
    else:
        if not differs:
            return state
        problem = f"is of a training with other {' and '.join(differs)}"
    logger.warning("%s: %s; training starts again from the beginning.", path, problem)
    return None


def _restore_best(state: State, checkpoint: Path) -> None:
    write_atomically(checkpoint, state["best"].numpy().tobytes())


def _sha256(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
