"""One rank of a training: `torchrun … -m bwpredict.training.rank JOB`, where JOB is the folder that `launch` wrote."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bwpredict.config import TrainingConfig
from bwpredict.errors import BwPredictError
from bwpredict.files import write_atomically
from bwpredict.model import load_checkpoint
from bwpredict.training import run
from bwpredict.training.launch import ERROR, HERE, JOB, START, read_split
from bwpredict.training.progress import log_epoch
from bwpredict.training.ranks import Ranks
from bwpredict.training.resume import Resume

SILENCE = timedelta(seconds=50)
"""A rank that hears nothing for so long from the others ends."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Join the others, train, and leave the result in the job's `resume` file."""
    _end_with_the_launcher()
    device = _device()
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=SILENCE)
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), _first())
    logging.basicConfig(
        level=logging.INFO if ranks.is_first else logging.ERROR, format="%(message)s", stream=sys.stdout
    )
    job = Path(sys.argv[1])
    try:
        with tempfile.TemporaryDirectory() as folder:
            _train(job, Path(folder), device, ranks)
    except BwPredictError as error:
        if ranks.is_first:
            sentence = {"type": type(error).__name__, "message": str(error)}
            write_atomically(job / ERROR, json.dumps(sentence).encode())
        sys.exit(error.exit_code)
    dist.destroy_process_group()


def _train(job: Path, scratch: Path, device: torch.device, ranks: Ranks) -> None:
    described = json.loads((job / JOB).read_bytes())
    config = TrainingConfig(**described["config"])
    state = _state_of_the_first(Path(described["resume"]), scratch, ranks)
    settings: dict[str, Any] = {
        "absent": frozenset(described["absent"]),
        "on_epoch": log_epoch if ranks.is_first else None,
        "device": device,
        "resume": Resume(state, described["every_seconds"], writes=ranks.is_first),
        "ranks": ranks,
    }
    checkpoint = Path(described["checkpoint"]) if ranks.is_first else scratch / "best.pth"
    split = read_split(job, described)
    if described["task"] == "train":
        run.train(split, config, checkpoint, **settings)
    else:
        task = {"fine_tune": run.prune_and_fine_tune, "warm_start": run.continue_champion}[described["task"]]
        task(load_checkpoint(job / START), split, config, checkpoint, **settings)


def _first() -> int:
    """The first rank on the machine that runs the step."""
    is_there: list[bool] = [False] * dist.get_world_size()
    dist.all_gather_object(is_there, HERE in sys.argv)
    return is_there.index(True)


def _state_of_the_first(path: Path, scratch: Path, ranks: Ranks) -> Path:
    """What the training continues from, as the first rank has it: `path` there, a copy of it for the others."""
    content = [path.read_bytes() if ranks.is_first and path.is_file() else b""]
    dist.broadcast_object_list(content, src=ranks.first)
    if ranks.is_first:
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


def _end_with_the_launcher() -> None:
    """Be killed when the process that started this one ends, however it ends (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
