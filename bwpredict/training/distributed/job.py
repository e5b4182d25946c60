"""What a training over several ranks is to do, and its windows, in a folder whose files every rank maps into memory.

```
job.json      the task, as `Job`; written last
start.pth     the model that it begins with
windows.json  what kind of windows, and with which link each machine's share begins
links.npy     [links], number of training windows of each
validation/   the validation windows, all of them, and no other samples: every machine has these
share-<n>/    the training windows of machine n, and the samples of their links
```
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
WINDOWS = "windows.json"
VALIDATION = "validation"
SHARE = "share-"
"""The number of the machine follows."""
FRAME = ("values", "timestamps", "link")
POSITIONS = ("first", "past")
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


def write(folder: Path, job: Job, start: Forecaster, split: Split) -> None:
    """Write the folder.

    Raises:
        ConfigError: the links cannot be shared out between this many machines.
    """
    train, validation = split["train"], split["validation"]
    edges = partition_links(train.windows_of_links(), job.machines)
    for machine, (first, past) in enumerate(pairwise(edges)):
        share = folder / f"{SHARE}{machine}"
        _write_frame(share, train.of_links(first, past).frame)
        for name, part in (("train", train), (VALIDATION, validation)):
            _write_positions(share, name, part.of_links(first, past))
    save_checkpoint(start, folder / START, {})
    windows = {
        "window_size": train.window_size,
        "horizon_steps": train.horizon_steps,
        "cadence_seconds": train.frame.cadence_seconds,
        "links": len(train.frame.links),
    }
    write_atomically(folder / WINDOWS, json.dumps(windows).encode())
    write_atomically(folder / JOB, json.dumps(asdict(job)).encode())


def read(folder: Path) -> Job:
    """The task."""
    return Job(**json.loads((folder / JOB).read_bytes()))


def read_windows(folder: Path, machine: int) -> Split:
    """What a process of this machine sees; samples are read from disk when they are used."""
    described = json.loads((folder / WINDOWS).read_bytes())
    share = folder / f"{SHARE}{machine}"
    frame = _read_frame(share, described)
    parts = {name: _read_index(share, name, frame, described) for name in ("train", VALIDATION)}
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


def _write_frame(folder: Path, frame: TelemetryFrame) -> None:
    for name in FRAME:
        _save(folder / f"{name}.npy", getattr(frame, name))
        frame.release()


def _write_positions(folder: Path, part: str, index: WindowIndex) -> None:
    for name in POSITIONS:
        _save(folder / f"{part}-{name}.npy", getattr(index.positions, name))


def _read_frame(folder: Path, described: dict[str, Any]) -> TelemetryFrame:
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in FRAME}
    return TelemetryFrame(
        **arrays,
        links=pd.DataFrame(index=range(described["links"])),
        cadence_seconds=described["cadence_seconds"],
        mapped=tuple(array._mmap for array in arrays.values()),  # noqa: SLF001 - its pages are let go after use
    )


def _read_index(folder: Path, part: str, frame: TelemetryFrame, described: dict[str, Any]) -> WindowIndex:
    positions = Starts(*(np.load(folder / f"{part}-{name}.npy") for name in POSITIONS))
    return WindowIndex(frame, positions, described["window_size"], described["horizon_steps"])


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, array)
