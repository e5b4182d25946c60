"""What the other machines of a training run: `python -m bwpredict.training.distributed.node s3://bucket/prefix/ranks/…`.

The log of the step on the first machine names the address. The machines share nothing but the store, and meet where the
step says.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from bwpredict.errors import BwPredictError, RankError
from bwpredict.training.distributed import job as jobs
from bwpredict.training.distributed.launcher import launch_config, start_ranks

logger = logging.getLogger(__name__)


def main() -> int:
    """Fetch the job, start this machine's ranks and wait for their end; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bwpredict.training.distributed.node", description="Take part in a training."
    )
    parser.add_argument("address", help="of the job, as the step's log names it: s3://bucket/prefix/ranks/…")
    address: str = parser.parse_args().address
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        with tempfile.TemporaryDirectory(prefix="bwpredict-ranks-") as folder:
            join(address, Path(folder))
    except BwPredictError as error:
        logger.error("%s", error)
        return error.exit_code
    return 0


def join(uri: str, folder: Path) -> None:
    """Take part in the training whose job is at `uri`; `folder` is for its copy.

    Raises:
        RankError: there is no job, or the training ended early.
        StoreUnreachableError: the store's.
    """
    jobs.fetch(uri, folder)
    job = jobs.read(folder)
    try:
        start_ranks(launch_config(job.config["ranks"], job.machines, job.rendezvous), folder)
    except (ChildFailedError, SignalException) as error:
        raise RankError(f"{uri}: the training ended early; the log of the step that started it says why.") from error


if __name__ == "__main__":
    sys.exit(main())
