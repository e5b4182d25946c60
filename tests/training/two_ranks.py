"""Both sides of one gradient: `python two_ranks.py RANK PORT OUT` computes its share of it as one of two ranks."""

from __future__ import annotations

import sys
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from small_training import CONFIG, small_split

from bwpredict.models.network import Contract, Forecaster
from bwpredict.training.batches import load
from bwpredict.training.distributed.process_group import Ranks, TrainingWindows
from bwpredict.training.loss import BatchLoss

WEIGHTS = torch.full((4,), 0.25)
BATCH = np.arange(3, 44)
"""41 windows: the ranks' shares differ."""


def gradients(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Of the loss on the batch without dropout, and the statistics that the batch norms remember."""
    train = small_split()["train"]
    torch.manual_seed(ranks.rank)  # rank 1 begins with other weights, until it is made like rank 0
    model = Forecaster(Contract(CONFIG.window_size, 15, 60), "guide")
    torch.nn.init.normal_(model.layers.output.weight)
    model.layers.dropout.p = model.layers.dropout2.p = 0.0
    model.train()
    ranks.alike(model)
    share = TrainingWindows(train, ranks, torch.device("cpu")).share(BATCH)
    parallel = ranks.parallel(BatchLoss(model, WEIGHTS))  # has to live until the gradient is there
    loss = parallel(*load(train, share, torch.device("cpu")))
    (loss * (len(share) * ranks.count / len(BATCH))).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()} | dict(model.named_buffers())


if __name__ == "__main__":
    rank, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    store = dist.TCPStore("localhost", port, 2, is_master=rank == 0, timeout=timedelta(seconds=200))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(gradients(Ranks(rank, 2, local_rank=rank, local_count=2)), out)
    dist.barrier()
