"""What a training over several ranks is to do, and its windows, in a folder whose files every rank maps into memory.

```
job.json    the task, as `Job`; written last
start.pth   the model that it begins with
share-<n>/  the training and validation windows of machine n, and the samples of their links
```
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bwpredict.config import Settings
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.datasets.windows import Split, Starts, WindowIndex
from bwpredict.errors import RankError, StoreError
from bwpredict.models.checkpoint import save_checkpoint
from bwpredict.models.network import Forecaster
from bwpredict.store.base import ObjectInfo, Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import atomic_path, write_atomically
from bwpredict.training.distributed.process_group import partition_links

logger = logging.getLogger(__name__)

JOB = "job.json"
START = "start.pth"
SHARE = "share-"
"""The number of the machine follows."""
FRAME = ("values", "timestamps", "link")
POSITIONS = ("first", "past")
PARTS = ("train", "validation")
SENT_WITHIN_SECONDS = 600


@dataclass(frozen=True)
class Job:
    """The task; its paths are those of the machine that runs the step."""

    task: str
    config: dict[str, Any]
    """A `TrainingConfig`."""
    absent: list[str]
    identity: dict[str, str]
    machines: int
    rendezvous: str
    checkpoint: str
    resume: str
    every_seconds: float
    address: str | None
    """Where it is in the store that the machines share; None: they share the folder."""
    windows: dict[str, int] = field(default_factory=dict)
    """What kind they are, and how many links there are; `write` fills it in."""


def write(folder: Path, job: Job, start: Forecaster, split: Split) -> None:
    """Write the folder.

    Raises:
        ConfigError: the links cannot be shared out between this many machines.
    """
    train = split["train"]
    edges = partition_links(train.windows_of_links(), job.machines)
    for machine, (first, past) in enumerate(pairwise(edges)):
        parts = {name: split[name].of_links(first, past) for name in PARTS}
        frame = parts["train"].frame
        arrays = {name: getattr(frame, name) for name in FRAME}
        for part, index in parts.items():
            arrays |= {f"{part}-{name}": getattr(index.positions, name) for name in POSITIONS}
        for name, array in arrays.items():
            with atomic_path(folder / f"{SHARE}{machine}" / f"{name}.npy") as temporary:
                np.save(temporary, array)
            frame.release()
    save_checkpoint(start, folder / START, {})
    windows = {
        "window_size": train.window_size,
        "horizon_steps": train.horizon_steps,
        "cadence_seconds": train.frame.cadence_seconds,
        "links": len(train.frame.links),
    }
    write_atomically(folder / JOB, json.dumps(asdict(replace(job, windows=windows))).encode())


def read(folder: Path) -> Job:
    """The task."""
    return Job(**json.loads((folder / JOB).read_bytes()))


def read_windows(folder: Path, machine: int) -> Split:
    """What a process of this machine sees; samples are read from disk when they are used."""
    windows, share = read(folder).windows, folder / f"{SHARE}{machine}"
    arrays = {name: np.load(share / f"{name}.npy", mmap_mode="r") for name in FRAME}
    frame = TelemetryFrame(
        **arrays,
        links=pd.DataFrame(index=range(windows["links"])),
        cadence_seconds=windows["cadence_seconds"],
        mapped=tuple(array._mmap for array in arrays.values()),  # noqa: SLF001 - its pages are let go after use
    )
    parts = {}
    for part in PARTS:
        positions = Starts(*(np.load(share / f"{part}-{name}.npy") for name in POSITIONS))
        parts[part] = WindowIndex(frame, positions, windows["window_size"], windows["horizon_steps"])
    return Split(parts, {}, 0.0, whole_days=False, by="calendar")


@contextmanager
def sent(folder: Path, address: str | None) -> Iterator[None]:
    """Within the block, the folder is at `address` too, for the machines that do not share it."""
    if address is None:
        yield
        return
    store = open_store(address)
    files = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    names = [name for name in files if name != JOB]
    for name in [*names, JOB]:  # the task last: who finds it finds the rest
        store.upload(folder / name, name)
    logger.info("on the other machines: python -m bwpredict.training.distributed.node %s", address)
    try:
        yield
    finally:
        try:
            for name in [JOB, *names]:
                store.delete(name)
        except StoreError as error:
            logger.warning("%s The training's job stays in %s; delete it.", error, address)


def new_address(settings: Settings) -> str | None:
    """Where to send a job; None: nowhere, the machines of a training share the folder, or there is one."""
    if settings.rank_nodes == 1 or not settings.work_store:
        return None
    return f"{settings.work_store.rstrip('/')}/ranks/{uuid.uuid4().hex}"


def fetch(address: str, folder: Path) -> None:
    """Bring the job into the folder, without the machines' shares; waits for it for `SENT_WITHIN_SECONDS`.

    Raises:
        RankError: there is none.
        StoreUnreachableError: the store's.
    """
    store = open_store(address)
    until = time.monotonic() + SENT_WITHIN_SECONDS
    logger.info("waiting for the training at %s", address)
    while JOB not in set(store.keys()):
        if time.monotonic() > until:
            raise RankError(f"{address}: no training is there; start the step first: its log names the address.")
        time.sleep(1)
    _download(store, [item for item in store.list() if not item.key.startswith(SHARE)], folder)


def fetch_share(address: str, folder: Path, machine: int) -> None:
    """Bring the training windows of one machine into the folder.

    Raises:
        StoreUnreachableError: the store's.
    """
    store = open_store(address)
    _download(store, list(store.list(f"{SHARE}{machine}/")), folder)


def _download(store: Store, items: list[ObjectInfo], folder: Path) -> None:
    for item in items:
        store.download(item.key, folder / item.key, max_bytes=item.size_bytes)
