"""The loss: mean absolute error in log space, in units of the typical change, by importance.

In log space it is nearly the relative error, with every link weighing the same, as MAPE asks; in raw units, as MAE
asks, a link with ten times the throughput weighs ten times as much. `importance` gives a window a share of both. It
follows from the window alone, so the optimum for each window is the median whatever the shares.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from bwpredict.datasets.windows import WindowIndex
from bwpredict.models.network import Forecaster
from bwpredict.training.batches import load
from bwpredict.training.distributed.process_group import ALONE, Ranks

EVALUATION_BATCH = 1024


class BatchLoss(nn.Module):
    """The loss of a batch as a module of its own, which data-parallel training can wrap."""

    def __init__(self, model: Forecaster, weights: Tensor, raw_error_share: float = 0.0) -> None:
        """`weights` [targets], of each target in the loss; `raw_error_share`: see `importance`."""
        super().__init__()
        self.model, self.weights, self.raw_error_share = model, weights, raw_error_share

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """[batch, window_size, features] and [batch, targets], raw units, to the mean loss.

        Targets may come as [batch, samples, targets]: their mean in log space is what is learnt then.
        In training that of the highway's members, each by itself; else that of the forecast.
        """
        device = self.weights.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda"):
            model = self.model
            anchor, change = model.anchor_and_changes(inputs) if model.training else model.anchor_and_change(inputs)
        logs = model.in_log_space(targets)
        wanted = ((logs.mean(dim=1) if logs.dim() > anchor.dim() else logs) - anchor) / model.typical_change
        errors = (change - wanted).abs() * importance(model, anchor, self.raw_error_share)
        errors = errors.flatten(0, -2)
        # Of a batch without a window, which a rank may meet, the mean would not be a number.
        return (errors.sum(dim=0) / max(1, len(errors)) * self.weights).sum()


def importance(model: Forecaster, anchor: Tensor, raw_error_share: float) -> Tensor:
    """[batch, targets], about 1 on average: what an error counts, of which `raw_error_share` by the level's size.

    `anchor` [batch, targets], in log space.
    """
    return 1 - raw_error_share + raw_error_share * torch.exp(anchor) / model.typical_level


def evaluate_loss(
    model: Forecaster, index: WindowIndex, weights: Tensor, ranks: Ranks = ALONE, raw_error_share: float = 0.0
) -> float:
    """The loss on all windows of an index, without dropout; each rank takes its share of the batches."""
    model.eval()
    loss_of = BatchLoss(model, weights, raw_error_share)
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
