"""One training over several processes: who trains on which links, and how their gradients become one.

Each process draws its own share of a batch from the links that its machine holds; gradients are averaged, so that
after each update all of them hold the same weights, and any of them can write the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bwpredict.datasets.windows import Index
from bwpredict.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of the training; each method is called by all of them at once."""

    rank: int = 0
    count: int = 1
    first: int = 0
    """The rank that writes what is written once."""

    @property
    def is_first(self) -> bool:
        """Whether this process is that rank."""
        return self.rank == self.first

    def gather(self, value: T) -> list[T]:
        """Every process's value."""
        if self.count == 1:
            return [value]
        values: list[T] = [value] * self.count
        dist.all_gather_object(values, value)
        return values

    def total(self, value: float) -> float:
        """The sum over all processes, the same bits on each."""
        return sum(self.gather(value))

    def broadcast(self, model: nn.Module) -> None:
        """Make every process's model that of rank 0."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace all gradients by their mean over the processes, in one exchange."""
        if self.count == 1:
            return
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        flat = parameters_to_vector(gradients)
        dist.all_reduce(flat)
        vector_to_parameters(flat / self.count, gradients)


SINGLE = ProcessGroup()


def partition_links(windows_of_links: Index, machines: int) -> list[int]:
    """[machines + 1], the link with which each machine's share begins: each has about as many links with windows.

    Raises:
        ConfigError: there are fewer links with windows than machines.
    """
    links = np.flatnonzero(windows_of_links)
    if len(links) < machines:
        raise ConfigError(
            f"{machines} machines cannot share the training windows of {len(links)} links: each needs one at least."
        )
    edges = [part[0] for part in np.array_split(links, machines)][1:]
    return [0, *(int(edge) for edge in edges), len(windows_of_links)]
