"""What validation confirms of a trained model, target by target: the last thing that a training does.

First how far the nets may differ, then how much of their change is served; where that is nothing, by which simple
forecast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bwpredict.datasets.windows import WindowIndex
from bwpredict.models.network import Forecaster, anchor_blends
from bwpredict.training.batches import load
from bwpredict.training.loss import importance

CHANGE_SHARES = tuple(round(0.05 * step, 2) for step in range(27))
BLOCKS = 40
USUAL_QUANTILE = 0.95
SURE = 1.645
"""Standard errors: one in twenty useless models would look better than its anchor by this much."""

Floats = npt.NDArray[np.float64]


@torch.no_grad()
def confirm(model: Forecaster, validation: WindowIndex, weights: Tensor, raw_error_share: float) -> None:
    """Set what the model serves of all that it learnt. A target of weight 0 was not learnt, and is left as it is."""
    model.eval()
    bound_members_difference(model, validation)
    choose_change_share(model, validation, weights, raw_error_share)
    choose_served_anchor(model, validation, raw_error_share)


def bound_members_difference(model: Forecaster, validation: WindowIndex) -> None:
    """Let the members that trust levels move a forecast as far as they do for nearly all validation windows.

    That is a Winsorised difference (Tukey, Annals of Mathematical Statistics 33, 1962): on links that drift, what a net
    knows by heart is far off, and seldom so elsewhere.
    """
    differences = [model.members_difference(inputs).abs() for inputs, _ in _blocks(model, validation)]
    model.highway.largest_difference.copy_(torch.quantile(torch.cat(differences), USUAL_QUANTILE, dim=0))


def choose_change_share(model: Forecaster, validation: WindowIndex, weights: Tensor, raw_error_share: float) -> None:
    """Shrink the trained parts, target by target, to the share of their change that validation confirms.

    Where the best share is not surely better than the bare anchor, the share is 0: the forecast is then the simple
    baseline that it grew from.
    """
    shares = torch.tensor(CHANGE_SHARES, device=weights.device)[:, None, None]
    errors = []
    for inputs, targets in _blocks(model, validation):
        anchor, change = model.anchor_and_change(inputs)
        forecasts = anchor + model.typical_change * model.bounded(shares * change)
        errors.append(_errors(model, forecasts, targets, anchor, raw_error_share))
    best, sure = _best(np.stack(errors))
    confirmed = np.where(sure, np.array(CHANGE_SHARES)[best], 0.0)
    model.change_share.copy_(torch.from_numpy(np.where(weights.cpu() > 0, confirmed, 1.0)))


def choose_served_anchor(model: Forecaster, validation: WindowIndex, raw_error_share: float) -> None:
    """Of a target whose change is not confirmed, serve another blend where validation is sure that it is better.

    The anchor was chosen on the training windows, and once the nets have learnt changes from it, it stays for them.
    """
    blends = anchor_blends().to(model.offset.device)
    errors = []
    for inputs, targets in _blocks(model, validation):
        anchors = model.anchors(model.in_log_space(inputs))
        anchor = model.blend(anchors)
        forecasts = torch.cat((anchor[None], torch.einsum("nat,ca->cnt", anchors, blends)))
        errors.append(_errors(model, forecasts, targets, anchor, raw_error_share))
    best, sure = _best(np.stack(errors))
    others = blends[best - 1].T
    model.served_anchor_weights.copy_(
        torch.where(torch.from_numpy(sure).to(others.device) & (model.change_share == 0), others, model.anchor_weights)
    )


def _errors(model: Forecaster, forecasts: Tensor, targets: Tensor, anchor: Tensor, raw_error_share: float) -> Floats:
    """[candidates, targets], what counts as error in the loss; `forecasts` [candidates, n, targets] in log space."""
    missed = (forecasts - model.in_log_space(targets)).abs() / model.typical_change
    counted = (missed * importance(model, anchor, raw_error_share)).mean(dim=1)
    return counted.cpu().numpy().astype(np.float64)


def _best(errors: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """[targets], the best of `errors` [blocks, candidates, targets], and whether it is surely better than the first.

    By `SURE` standard errors over blocks of neighbouring windows, which are not independent.
    """
    best = errors.mean(axis=0).argmin(axis=0)
    gains = errors[:, 0] - np.take_along_axis(errors, best[None, None], axis=1)[:, 0]
    return best, gains.mean(axis=0) > SURE * gains.std(axis=0, ddof=1) / math.sqrt(len(gains))


def _blocks(model: Forecaster, validation: WindowIndex) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows and targets in raw units, block by block."""
    for block in np.array_split(np.arange(len(validation)), min(BLOCKS, len(validation))):
        yield load(validation, block, model.offset.device)
