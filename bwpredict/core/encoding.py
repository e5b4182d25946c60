"""Encodings of a window that make it easier to learn from: pure functions of tensors, all exportable to ONNX."""

from __future__ import annotations

import torch
from torch import Tensor

ZOOM = 30.0
"""Deviations of a thirtieth of the typical change are where `zoomed` turns from linear to logarithmic."""

SMALLEST_BIN = 1e-5
"""In log space: narrower bins would tell rounding errors apart."""


def median(values: Tensor) -> Tensor:
    """[batch, steps, columns] to [batch, columns]; by topk, since the exporter knows no median."""
    steps = values.shape[1]
    upper = torch.topk(values, steps // 2 + 1, dim=1).values
    return upper[:, -1] if steps % 2 else (upper[:, -1] + upper[:, -2]) / 2


def ordered(values: Tensor) -> Tensor:
    """[batch, steps, columns], each column by size: a linear layer can make minimum, range and trimmed means of it."""
    return torch.topk(values, values.shape[1], dim=1).values


def zoomed(deviation: Tensor) -> Tensor:
    """Deviations in typical changes, on a scale that tells both tiny and huge ones apart, whatever the link."""
    return torch.asinh(ZOOM * deviation) / 3


def piecewise_linear(levels: Tensor, edges: Tensor) -> Tensor:
    """[batch, columns] to [batch, columns * bins], how far each bin is filled; `edges` [columns, bins + 1] ascend.

    Tells close levels apart, as it takes to know a link by its base round-trip time
    (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022).
    """
    low, high = edges[:, :-1], edges[:, 1:]
    return ((levels[..., None] - low) / (high - low)).clamp(0, 1).flatten(1)


def bin_edges(levels: Tensor, bins: int) -> Tensor:
    """[n, columns] to edges [columns, bins + 1] with about as many levels in each bin, strictly ascending."""
    edges = torch.quantile(levels, torch.linspace(0, 1, bins + 1), dim=0).T
    # Equal levels would make bins without width.
    return edges + SMALLEST_BIN * torch.arange(bins + 1)
