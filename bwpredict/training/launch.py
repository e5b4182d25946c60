"""Start the ranks of a training, and end all of them when one dies.

The windows' telemetry goes into a job folder as plain arrays, which every rank maps into memory and reads its own
share of; `rank.py` is what each runs. Several machines share the folder, or, with `BWPREDICT_WORK_STORE`, the store
that it is sent to: `join.py` is what the others run then.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from bwpredict.config import Settings, TrainingConfig
from bwpredict.errors import ConfigError, RankError, StoreError
from bwpredict.files import atomic_path, write_atomically
from bwpredict.model import Forecaster, save_checkpoint
from bwpredict.store import open_store
from bwpredict.telemetry.frame import TelemetryFrame
from bwpredict.training.progress import Training
from bwpredict.training.resume import Resume, identity
from bwpredict.windows import Split, Starts, WindowIndex

logger = logging.getLogger(__name__)

JOB = "job.json"
START = "start.pth"
ERROR = "error.json"
HERE = "--here"
"""Tells ranks that they are on the machine that runs the step."""
PARTS = ("train", "validation")
"""A training sees no others."""
FRAME = ("values", "timestamps", "link")


def over_ranks(
    task: str,
    start: Forecaster | None,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    absent: frozenset[str],
    resume: Resume | None,
) -> Training:
    """Run a training of `run.py` in `config.ranks` processes; `start` is the model it begins with, if any.

    Raises:
        RankError: a rank died; names it and the reason.
        BwPredictError: what the training raised.
    """
    with ExitStack() as stack:
        if resume is None:
            resume = Resume(Path(stack.enter_context(tempfile.TemporaryDirectory()), "resume.pth"))
        same = identity(split, config, absent, start)
        resume.look(same)
        if over := resume.finished(checkpoint):
            return over
        job = resume.path.with_suffix(".ranks")
        where = _machines(config.ranks)
        described = {
            "task": task,
            "config": config.model_dump(mode="json"),
            "absent": sorted(absent),
            "machines": where.min_nodes,
            "rendezvous": where.rdzv_endpoint,
        }
        paths = {"checkpoint": str(checkpoint.absolute()), "resume": str(resume.path.absolute())}
        if start:
            save_checkpoint(start, job / START, {})
        write_job(job, split, {**described, **paths, "every_seconds": resume.every_seconds})
        with _sent(job):
            _run_ranks(job, where)
        resume.look(same)
        over = resume.finished(checkpoint)
    if over is None:
        raise RankError(f"{resume.path}: the ranks ended without a result; see the log above.")
    windows = {name: len(part) for name, part in split.parts.items()}  # the ranks see only PARTS
    return Training(over.model, over.history | {"windows": windows})


def write_job(job: Path, split: Split, described: dict[str, Any]) -> None:
    """What `read_split` and `rank.py` read, the description last."""
    train = split["train"]
    arrays: dict[str, npt.NDArray[Any]] = {name: getattr(train.frame, name) for name in FRAME}
    for part in PARTS:
        positions = split[part].positions
        arrays |= {f"{part}_first": positions.first, f"{part}_past": positions.past}
    for name, array in arrays.items():
        with atomic_path(job / f"{name}.npy") as temporary:
            np.save(temporary, array)
        train.frame.release()
    windows = {
        "window_size": train.window_size,
        "horizon_steps": train.horizon_steps,
        "cadence_seconds": train.frame.cadence_seconds,
    }
    write_atomically(job / JOB, json.dumps({**described, "windows": windows}).encode())


@contextmanager
def _sent(job: Path) -> Iterator[None]:
    """Within the block, the job lies in the store where the machines of the training share one."""
    settings = Settings()
    if settings.rank_nodes == 1 or not settings.work_store:
        yield
        return
    store = open_store(settings.work_store)
    prefix = f"ranks/{uuid.uuid4().hex}"
    names = [path.name for path in job.glob("*.npy")] + [START] * (job / START).is_file()
    for name in [*names, JOB]:  # the description last: who finds it finds the rest
        store.upload(job / name, f"{prefix}/{name}")
    logger.info("on the other machines: python -m bwpredict.training.join %s/%s", store.uri.rstrip("/"), prefix)
    try:
        yield
    finally:
        try:
            for name in [JOB, *names]:
                store.delete(f"{prefix}/{name}")
        except StoreError as error:
            logger.warning("%s The training's job stays in %s/%s; delete it.", error, store.uri, prefix)


def read_split(job: Path, described: dict[str, Any]) -> Split:
    """The parts that a training sees; samples are read from disk when their windows are used."""
    arrays = {name: np.load(job / f"{name}.npy", mmap_mode="r") for name in FRAME}
    frame = TelemetryFrame(
        **arrays,
        links=pd.DataFrame(),
        cadence_seconds=described["windows"]["cadence_seconds"],
        mapped=tuple(array._mmap for array in arrays.values()),  # noqa: SLF001 - its pages are let go after use
    )

    def index(part: str) -> WindowIndex:
        positions = Starts(*(np.load(job / f"{part}_{name}.npy") for name in ("first", "past")))
        return WindowIndex(frame, positions, described["windows"]["window_size"], described["windows"]["horizon_steps"])

    return Split({part: index(part) for part in PARTS}, {}, 0.0, whole_days=False, by="calendar")


def _machines(ranks: int) -> LaunchConfig:
    """How many there are, and where they meet, by the settings."""
    settings = Settings()
    if ranks % settings.rank_nodes:
        raise ConfigError(f"ranks={ranks} cannot be shared out evenly between {settings.rank_nodes} machines.")
    if settings.rank_nodes > 1 and not settings.rank_rendezvous:
        raise ConfigError("BWPREDICT_RANK_RENDEZVOUS: give host:port, at which the machines of the training meet.")
    return meeting(ranks, settings.rank_nodes, settings.rank_rendezvous or "localhost:0")


def meeting(ranks: int, machines: int, rendezvous: str) -> LaunchConfig:
    """What `torchrun` would be told."""
    return LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=ranks // machines,
        run_id="bwpredict",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous,
        max_restarts=0,
    )


def start_ranks(where: LaunchConfig, job: Path, *options: str) -> None:
    """As `torchrun` does, with its library: this process watches its ranks and ends all when one dies.

    Raises:
        ChildFailedError, SignalException: torch's.
    """
    elastic_launch(where, sys.executable)("-m", "bwpredict.training.rank", str(job), *options)


def _run_ranks(job: Path, where: LaunchConfig) -> None:
    (job / ERROR).unlink(missing_ok=True)
    ranks = where.min_nodes * where.nproc_per_node
    logger.info("training in %d processes; job %s", ranks, job)
    try:
        start_ranks(where, job, HERE)
    except ChildFailedError as error:
        raise _reason(job, error, ranks, where.min_nodes) from error
    except SignalException as error:
        raise RankError(f"the training was ended by {error.sigval.name}; run it again to continue.") from error


def _reason(job: Path, error: ChildFailedError, ranks: int, nodes: int) -> Exception:
    rank, failure = error.get_first_failure()
    if (job / ERROR).is_file():  # a sentence of ours
        told = json.loads((job / ERROR).read_bytes())
        return _error_class(told["type"])(told["message"])
    how = f"was killed by {failure.signal_name()}" if failure.exitcode < 0 else f"ended with code {failure.exitcode}"
    # Of the ranks on other machines this one sees only that they no longer answer.
    elsewhere = " (see its log above), perhaps since a rank on another machine died" if nodes > 1 else ""
    return RankError(
        f"rank {rank} of {ranks} {how}{elsewhere}, so the others were stopped; run the training again: it continues"
        " from its last checkpoint."
    )


def _error_class(name: str) -> type[Exception]:
    from bwpredict import errors

    return getattr(errors, name, RankError)
