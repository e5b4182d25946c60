"""Windows as tensors: cut from the telemetry in memory or in mapped files, or from a copy of it on the device."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from bwpredict import schema
from bwpredict.datasets.windows import Index, WindowIndex

DEVICE_SHARE = 0.5
"""Of a GPU's free memory, at most, for the samples."""


class Samples(Protocol):
    """Where a training takes its windows from."""

    def load(self, which: Index, smoothing: int = 0) -> tuple[Tensor, Tensor]:
        """The chosen windows' inputs [n, window_size, features] and targets, as `load`."""
        ...


def samples_of(index: WindowIndex, device: torch.device) -> Samples:
    """Kept on a GPU where there is room for them; else each batch is cut on the host and sent."""
    if device.type == "cuda" and index.frame.values.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return OnDevice(index, device)
    return OnHost(index, device)


class OnHost:
    """Samples in memory or mapped files."""

    def __init__(self, index: WindowIndex, device: torch.device) -> None:
        """`device`: where windows are wanted."""
        self._index, self._device = index, device

    def load(self, which: Index, smoothing: int = 0) -> tuple[Tensor, Tensor]:
        """See `Samples`."""
        return load(self._index, which, self._device, smoothing)


class OnDevice:
    """All samples of the index's frame on the device: of a batch, only the windows' positions are sent."""

    def __init__(self, index: WindowIndex, device: torch.device) -> None:
        """Copies the samples: 36 bytes a row."""
        self._index, self._device = index, device
        self._values = torch.tensor(index.frame.values, device=device)
        self._window = torch.arange(index.window_size, device=device)
        index.frame.release()

    def load(self, which: Index, smoothing: int = 0) -> tuple[Tensor, Tensor]:
        """See `Samples`."""
        index, steps = self._index, _steps(self._index, smoothing)
        rows = self._sent(index.positions.rows(which))
        targets = self._values[self._sent(index.target_rows_around(which, steps)), : len(schema.TARGETS)]
        return self._values[rows[:, None] + self._window], targets if steps else targets[:, 0]

    def _sent(self, rows: Index) -> Tensor:
        return torch.from_numpy(rows).to(self._device, non_blocking=True)


def load(index: WindowIndex, which: Index, device: torch.device, smoothing: int = 0) -> tuple[Tensor, Tensor]:
    """The chosen windows' inputs and targets, on the device; with `smoothing`, so many samples around each target.

    A single minute is mostly noise, which their mean has less of.
    They stay well away from what the window shows: a fifth of the horizon at most.
    """
    steps = _steps(index, smoothing)
    wanted = index.targets_around(which, steps) if steps else index.targets(which)
    inputs, targets = torch.from_numpy(index.inputs(which)), torch.from_numpy(wanted)
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)


def _steps(index: WindowIndex, smoothing: int) -> int:
    return min(smoothing, index.horizon_steps // 5)
