"""Start the ranks of a training, and end all of them when one dies.

What they are to do goes into a job folder (`job.py`); `worker.py` is what each runs. Several machines share the folder,
or, with `BWPREDICT_WORK_STORE`, the store that it is sent to: `node.py` is what the others run then.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from bwpredict import errors
from bwpredict.config import Settings, TrainingConfig
from bwpredict.datasets.windows import Split
from bwpredict.errors import ConfigError, RankError
from bwpredict.models.network import Forecaster
from bwpredict.training.checkpointing import Resume, identity
from bwpredict.training.distributed import job as jobs
from bwpredict.training.distributed.job import Job
from bwpredict.training.progress import Training

logger = logging.getLogger(__name__)

ERROR = "error.json"
HERE = "--here"
"""Tells ranks that they are on the machine that runs the step."""


def run_distributed(
    task: str,
    start: Forecaster,
    split: Split,
    config: TrainingConfig,
    checkpoint: Path,
    absent: frozenset[str],
    resume: Resume | None,
) -> Training:
    """Run a training of `trainer.py` in `config.ranks` processes; `start` is the model it begins with.

    Raises:
        ConfigError: the ranks, or the links, cannot be shared out between the machines.
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
        where = _machines(config.ranks)
        folder = resume.path.with_suffix(".ranks")
        job = Job(
            task=task,
            config=config.model_dump(mode="json"),
            absent=sorted(absent),
            identity=same,
            machines=where.min_nodes,
            rendezvous=where.rdzv_endpoint,
            checkpoint=str(checkpoint.absolute()),
            resume=str(resume.path.absolute()),
            every_seconds=resume.every_seconds,
            address=jobs.new_address(Settings()),
        )
        jobs.write(folder, job, start, split)
        with jobs.sent(folder, job.address):
            _run_ranks(folder, where)
        resume.look(same)
        over = resume.finished(checkpoint)
    if over is None:
        raise RankError(f"{resume.path}: the ranks ended without a result; see the log above.")
    windows = {name: len(part) for name, part in split.parts.items()}  # no process sees all of them
    return Training(over.model, over.history | {"windows": windows})


def _machines(ranks: int) -> LaunchConfig:
    """How many there are, and where they meet, by the settings."""
    settings = Settings()
    if ranks % settings.rank_nodes:
        raise ConfigError(f"ranks={ranks} cannot be divided evenly among {settings.rank_nodes} machines.")
    cards = torch.cuda.device_count()
    if cards and ranks > cards * settings.rank_nodes:
        raise ConfigError(f"ranks={ranks}: each rank needs its own GPU, and this machine has {cards}.")
    if settings.rank_nodes > 1 and not settings.rank_rendezvous:
        raise ConfigError("BWPREDICT_RANK_RENDEZVOUS: give host:port, at which the machines of the training meet.")
    return launch_config(ranks, settings.rank_nodes, settings.rank_rendezvous or "localhost:0")


def launch_config(ranks: int, machines: int, rendezvous: str) -> LaunchConfig:
    """The settings that `torchrun` would pass."""
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
    elastic_launch(where, sys.executable)("-m", "bwpredict.training.distributed.worker", str(job), *options)


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
        return getattr(errors, told["type"], RankError)(told["message"])
    how = f"was killed by {failure.signal_name()}" if failure.exitcode < 0 else f"ended with code {failure.exitcode}"
    # Of the ranks on other machines this one sees only that they no longer answer.
    elsewhere = " (see its log above), perhaps since a rank on another machine died" if nodes > 1 else ""
    return RankError(
        f"rank {rank} of {ranks} {how}{elsewhere}, so the others were stopped; run the training again: it continues"
        " from its last checkpoint."
    )
