"""The loss: mean absolute error in log space, in units of the typical change.

Nearly the relative error, with every target weighing the same, and its optimum is the median that MAE and MAPE
ask for.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bwpredict.model import Forecaster
from bwpredict.training.ranks import ALONE, Ranks
from bwpredict.windows import Index, WindowIndex

EVALUATION_BATCH = 1024


class BatchLoss(nn.Module):
    """The loss of a batch as a module of its own, which data-parallel training can wrap."""

    def __init__(self, model: Forecaster, weights: Tensor) -> None:
        """`weights` [targets], of each target in the loss."""
        super().__init__()
        self.model, self.weights = model, weights

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """[batch, window_size, features] and [batch, targets], raw units, to the mean loss."""
        device = self.weights.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            anchor, change = self.model.anchor_and_change(inputs)
        wanted = (self.model.in_log_space(targets) - anchor) / self.model.typical_change
        return ((change - wanted).abs().mean(dim=0) * self.weights).sum()


def evaluate_loss(model: Forecaster, index: WindowIndex, weights: Tensor, ranks: Ranks = ALONE) -> float:
    """The loss on all windows of an index, without dropout; each rank takes its share of the batches."""
    model.eval()
    loss_of = BatchLoss(model, weights)
    total = 0.0
    with torch.inference_mode():
        for begin in range(ranks.rank * EVALUATION_BATCH, len(index), ranks.count * EVALUATION_BATCH):
            inputs, targets = load(index, np.arange(begin, min(begin + EVALUATION_BATCH, len(index))), weights.device)
            total += float(loss_of(inputs, targets)) * len(inputs)
    return ranks.total(total) / len(index)


def served_loss(model: Forecaster, index: WindowIndex, weights: Tensor, typical_change: Tensor) -> float:
    """The loss of the forecasts as they are served, in units of the given typical change: comparable between models."""
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for begin in range(0, len(index), EVALUATION_BATCH):
            which = np.arange(begin, min(begin + EVALUATION_BATCH, len(index)))
            inputs, targets = load(index, which, weights.device)
            errors = model.in_log_space(model(inputs)) - model.in_log_space(targets)
            total += float(((errors / typical_change).abs().sum(dim=0) * weights).sum())
    return total / len(index)


def load(index: WindowIndex, which: Index, device: torch.device) -> tuple[Tensor, Tensor]:
    """The chosen windows' inputs and targets, on the device."""
    inputs, targets = torch.from_numpy(index.inputs(which)), torch.from_numpy(index.targets(which))
    return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
