"""What rivals did on a data set, kept, so that a change of ours does not train all of them again."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from accuracy.data import Dataset
from accuracy.guide_layers import GuideLayers
from accuracy.task import Array, Budget, Entry
from bwpredict.store.files import atomic_path

LIBRARIES = ("torch", "numpy", "scikit-learn", "lightgbm", "neuralforecast", "fracast")


def _digest_of_sources() -> str:
    """Of the benchmark's code, the layers that "guide" takes from the product, and the libraries' versions."""
    digest = hashlib.sha256(inspect.getsource(GuideLayers).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(json.dumps({name: version(name) for name in LIBRARIES}).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Made:
    """One fit's forecasts for each set of test windows, and what they took."""

    forecasts: dict[str, Array]
    training_seconds: float
    inference_us: float
    parameters: int = 0
    choice: str = ""


@dataclass(frozen=True)
class Cache:
    """Files in a folder; without a folder nothing is kept. Ours is never kept: its code is what changes."""

    folder: Path | None
    _sources: str = field(default_factory=_digest_of_sources)

    def path(self, dataset: Dataset, entry: Entry, budget: Budget, seed: int) -> Path | None:
        """Where this fit is kept: a name that follows from everything that decides it; None if it is not kept."""
        if self.folder is None or entry.ours:
            return None
        train = dataset.split["train"]
        decides = {
            "data": dataset.digest,
            "split": dataset.split.describe(),
            "window": [train.window_size, train.horizon_steps],
            "tests": {
                name: hashlib.sha256(index.starts.tobytes()).hexdigest() for name, index in dataset.tests.items()
            },
            "budget": asdict(budget),
            "seed": seed,
            "sources": self._sources,
        }
        key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / f"{dataset.name}-{entry.name}-{seed}-{key}.npz"


def read(path: Path) -> Made:
    """What `write` kept."""
    with np.load(path, allow_pickle=False) as file:
        facts: dict[str, Any] = json.loads(str(file["facts"]))
        return Made({name.removeprefix("test "): file[name] for name in file.files if name != "facts"}, **facts)


def write(path: Path, made: Made) -> None:
    """Keep a fit's outcome, atomically; makes the folder."""
    facts = {key: value for key, value in asdict(made).items() if key != "forecasts"}
    forecasts = {f"test {name}": values for name, values in made.forecasts.items()}
    with atomic_path(path) as temporary:
        np.savez(temporary, facts=np.array(json.dumps(facts)), **forecasts)  # type: ignore[arg-type]
