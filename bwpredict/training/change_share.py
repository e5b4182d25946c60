"""How much of the change that was learnt validation confirms, and what is a usual difference between the nets."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bwpredict.model import Forecaster
from bwpredict.training.loss import importance
from bwpredict.training.samples import load
from bwpredict.windows import Index, WindowIndex

CHANGE_SHARES = tuple(round(0.05 * step, 2) for step in range(27))
SHARE_BLOCKS = 40
USUAL_QUANTILE = 0.95
SURE = 1.645
"""Standard errors: one in twenty useless models would look better than its anchor by this much."""


def bound_members_difference(model: Forecaster, validation: WindowIndex) -> None:
    """Let the members that trust levels move a forecast as far as they do for nearly all validation windows.

    That is a Winsorised difference (Tukey, Annals of Mathematical Statistics 33, 1962): on links that drift, what a net
    knows by heart is far off, and seldom so elsewhere.
    """
    model.eval()
    differences = []
    with torch.inference_mode():
        for block in _blocks(validation):
            inputs, _ = load(validation, block, model.offset.device)
            differences.append(model.members_difference(inputs).abs())
    usual = torch.quantile(torch.cat(differences), USUAL_QUANTILE, dim=0)
    model.highway.largest_difference.copy_(usual)


def choose_change_share(model: Forecaster, validation: WindowIndex, weights: Tensor, raw_error_share: float) -> None:
    """Shrink the trained parts, target by target, to the share of their change that validation confirms.

    Where the best share is not better than the bare anchor by `SURE` standard errors (over blocks of neighbouring
    windows, which are not independent), the share is 0: the forecast is then the simple baseline that it grew from.
    """
    errors = _errors_by_share(model, validation, weights.device, raw_error_share)
    best = errors.mean(axis=0).argmin(axis=0)
    gains = np.stack([errors[:, 0, target] - errors[:, share, target] for target, share in enumerate(best)], axis=1)
    sure = gains.mean(axis=0) > SURE * gains.std(axis=0, ddof=1) / math.sqrt(len(gains))
    shares = np.where(sure, np.array(CHANGE_SHARES)[best], 0.0)
    model.change_share.copy_(torch.from_numpy(np.where(weights.cpu() > 0, shares, 1.0)))


def _errors_by_share(
    model: Forecaster, validation: WindowIndex, device: torch.device, raw_error_share: float
) -> npt.NDArray[np.float64]:
    """[blocks, CHANGE_SHARES, targets], what counts as error in the loss, on blocks of the validation windows."""
    model.eval()
    shares = torch.tensor(CHANGE_SHARES, device=device)[:, None, None]
    errors = []
    with torch.inference_mode():
        for block in _blocks(validation):
            inputs, targets = load(validation, block, device)
            anchor, change = model.anchor_and_change(inputs)
            wanted = (model.in_log_space(targets) - anchor) / model.typical_change
            missed = (model.bounded(shares * change) - wanted).abs() * importance(model, anchor, raw_error_share)
            errors.append(missed.mean(dim=1).cpu().numpy())
    return np.stack(errors).astype(np.float64)


def _blocks(validation: WindowIndex) -> list[Index]:
    return np.array_split(np.arange(len(validation)), min(SHARE_BLOCKS, len(validation)))
