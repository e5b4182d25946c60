"""One training over several processes (ranks): who takes which windows, and how their results become one.

Every rank draws the same batches from the seed and takes its share of each; gradients are averaged by
`DistributedDataParallel`, batch norm statistics by `GlobalBatchNorm`. After each step all ranks hold the same
weights, so that any of them can write the checkpoint: the first on the machine that runs the step does.

A machine holds whole links, and computes their windows; its ranks deal them out among themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.datasets.sampling import SamplingMethod, expected_draws
from bwpredict.datasets.windows import Index, WindowIndex
from bwpredict.errors import ConfigError
from bwpredict.models.network import Forecaster
from bwpredict.training.distributed.sync_batch_norm import sum_over_ranks, use_global_batch_norm

T = TypeVar("T")


@dataclass(frozen=True)
class Fleet:
    """The training windows of all machines, as one of them knows them."""

    windows_of_links: Index
    """[links], number of windows of each."""
    before: int
    """Windows of the links before those that this machine holds."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the training; each method is called by all of them at once."""

    rank: int = 0
    count: int = 1
    first: int = 0
    """The rank that writes what is written once."""
    local_rank: int = 0
    """Among those of this machine."""
    local_count: int = 1
    fleet: Fleet | None = None
    """None: this machine holds all windows."""

    @property
    def is_first(self) -> bool:
        """Whether this process is that rank."""
        return self.rank == self.first

    def gather(self, value: T) -> list[T]:
        """Every rank's value."""
        if self.count == 1:
            return [value]
        values: list[T] = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def total(self, value: float) -> float:
        """The sum over all ranks, the same bits on each."""
        return sum(self.gather(value))

    def sum(self, value: Tensor) -> Tensor:
        """The sum of the ranks' tensors."""
        return value if self.count == 1 else sum_over_ranks(value)

    def alike(self, model: Forecaster) -> None:
        """Make every rank's model that of rank 0, and its batch norms see the whole batch."""
        if self.count == 1:
            return
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0)
        if model.layers is not None:
            use_global_batch_norm(model.layers)

    def parallel(self, loss: nn.Module) -> nn.Module:
        """The loss, whose gradients are averaged over the ranks."""
        if self.count == 1:
            return loss
        return nn.parallel.DistributedDataParallel(loss, forward_sync_buffers=False)


ALONE = Ranks()


@dataclass(frozen=True)
class TrainingWindows:
    """All windows that an epoch may draw (`sampling.Windows`), of which this machine holds some."""

    held: WindowIndex
    ranks: Ranks
    device: torch.device
    """Where ranks exchange values."""

    def __len__(self) -> int:
        """Number of windows, over all machines."""
        fleet = self.ranks.fleet
        return int(fleet.windows_of_links.sum()) if fleet else len(self.held)

    def windows_of_links(self) -> Index:
        """[links], number of windows of each, over all machines."""
        fleet = self.ranks.fleet
        return fleet.windows_of_links if fleet else self.held.windows_of_links()

    def last_samples(self, which: Index) -> npt.NDArray[np.float32]:
        """[n, features] of the chosen windows, whichever machine holds them."""
        if self.ranks.fleet is None:
            return self.held.last_samples(which)
        samples = np.zeros((len(which), len(schema.FEATURES)), dtype=np.float32)
        if self.ranks.local_rank == 0:
            here = self._is_held(which)
            samples[here] = self.held.last_samples(which[here] - self.ranks.fleet.before)
        everywhere: npt.NDArray[np.float32] = self.ranks.sum(torch.from_numpy(samples).to(self.device)).cpu().numpy()
        return everywhere

    def share(self, batch: Index) -> Index:
        """Which of `held` this rank computes for a batch; there may be none."""
        ranks = self.ranks
        if ranks.fleet:
            batch = batch[self._is_held(batch)] - ranks.fleet.before
        return batch[ranks.local_rank :: ranks.local_count]

    def _is_held(self, which: Index) -> npt.NDArray[np.bool_]:
        fleet = self.ranks.fleet
        assert fleet is not None  # noqa: S101
        return (which >= fleet.before) & (which < fleet.before + len(self.held))


def deal_out(windows_of_links: Index, machines: int, budget: int, how: SamplingMethod) -> list[int]:
    """[machines + 1], the link with which each machine's share begins: about as many windows are drawn from each.

    Raises:
        ConfigError: there are fewer links with windows than machines.
    """
    links = np.flatnonzero(windows_of_links)
    if len(links) < machines:
        raise ConfigError(
            f"{machines} machines cannot share the training windows of {len(links)} links: each needs one at least."
        )
    draws = expected_draws(windows_of_links, budget, how)[links]
    wanted = draws.sum() * np.arange(1, machines) / machines
    # The edge nearest to what is wanted, moved where a machine would be left without a link.
    edges = np.searchsorted(np.cumsum(draws) - draws / 2, wanted)
    fewest = np.arange(1, machines)
    edges = np.maximum.accumulate(np.maximum(edges, fewest) - fewest) + fewest
    edges = np.minimum(edges, len(links) - machines + fewest)
    return [0, *links[edges].tolist(), len(windows_of_links)]
