"""One rank of a distributed training: `torchrun … -m bwpredict.training.distributed.worker JOB`; see `job.py`."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing.pool import ThreadPool
from pathlib import Path

import torch
import torch.distributed as dist

from bwpredict.config import TrainingConfig
from bwpredict.errors import BwPredictError
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.store.files import write_atomically
from bwpredict.training import trainer
from bwpredict.training.checkpointing import Resume
from bwpredict.training.distributed import job as jobs
from bwpredict.training.distributed.job import START
from bwpredict.training.distributed.launcher import ERROR, HERE
from bwpredict.training.distributed.process_group import ProcessGroup
from bwpredict.training.progress import log_epoch
from bwpredict.workspace import areas

logger = logging.getLogger(__name__)

SILENCE = timedelta(seconds=50)
"""A rank that hears nothing for so long from the others ends."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Join the others, train, and leave the result in the job's `resume` file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the launcher, however it ends (Linux)
    device = _device()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=SILENCE)
    group = ProcessGroup(dist.get_rank(), dist.get_world_size())
    group = replace(group, first=group.gather(HERE in sys.argv).index(True))
    logging.basicConfig(
        level=logging.INFO if group.is_first else logging.ERROR, format="%(message)s", stream=sys.stdout
    )
    folder = Path(sys.argv[1])
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _train(folder, Path(scratch), device, group)
    except BwPredictError as error:
        if group.is_first:
            sentence = {"type": type(error).__name__, "message": str(error)}
            write_atomically(folder / ERROR, json.dumps(sentence).encode())
        elif int(os.environ["LOCAL_RANK"]) == 0:
            logger.error("%s", error)
        sys.exit(error.exit_code)
    dist.destroy_process_group()


def _train(folder: Path, scratch: Path, device: torch.device, group: ProcessGroup) -> None:
    job, machine = jobs.read(folder), int(os.environ["GROUP_RANK"])
    if job.address:
        _wait_for_shares(job.address, folder, machine, group)
    split = jobs.read_windows(folder, machine)
    state = _state_of_the_first(Path(job.resume), scratch, group)
    resume = Resume(state, job.every_seconds, writes=group.is_first, share=areas.share)
    resume.look(job.identity)
    settings: trainer.Options = {
        "absent": frozenset(job.absent),
        "on_epoch": log_epoch if group.is_first else None,
        "device": device,
        "resume": resume,
        "group": group,
    }
    config = TrainingConfig(**job.config)
    checkpoint = Path(job.checkpoint) if group.is_first else scratch / "best.pth"
    start = load_checkpoint(folder / START)
    if job.task == "train":
        trainer.train(split, config, checkpoint, start=start, **settings)
    else:
        trainer.continue_champion(start, split, config, checkpoint, **settings)


def _wait_for_shares(address: str, folder: Path, machine: int, group: ProcessGroup) -> None:
    """Have every machine fetch its share of the windows; meanwhile the ranks ask each other, so that a death is seen.

    The machine that runs the step has them.
    """
    fetching = None
    if HERE not in sys.argv and int(os.environ["LOCAL_RANK"]) == 0:
        fetching = ThreadPool(1).apply_async(jobs.fetch_share, (address, folder, machine))
    while not all(group.gather(fetching is None or fetching.ready())):
        time.sleep(1)
    if fetching:
        fetching.get()


def _state_of_the_first(path: Path, scratch: Path, group: ProcessGroup) -> Path:
    """What the training continues from, as the first rank has it: `path` there, a copy of it for the others."""
    content = [path.read_bytes() if group.is_first and path.is_file() else b""]
    dist.broadcast_object_list(content, src=group.first)
    if group.is_first:
        return path
    copy = scratch / "resume.pth"
    if content[0]:
        copy.write_bytes(content[0])
    return copy


def _device() -> torch.device:
    """Each rank of a machine has a GPU of its own, or its share of the cores."""
    local_rank, local_ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        return torch.device("cuda", local_rank)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // local_ranks))
    return torch.device("cpu")


if __name__ == "__main__":
    main()
