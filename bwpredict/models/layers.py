"""The trainable layers: the training guide's LSTMs, and the highway beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bwpredict import schema

_TARGETS = len(schema.TARGETS)
HIGHWAY_WIDTH, HIGHWAY_DEPTH = 256, 3
KNOWING_SHARE = 0.9
"""Of the forecast for familiar levels: what the dense nets say that trust levels; the rest is the last net's."""
_NO_BOUND = 1e6

ARCHITECTURES = {
    "guide": "the training guide's LSTM layers, with the highway beside them",
    "dense": "the highway alone, trained and served in a fraction of the time",
}
"""What can stand between the transforms, by name. The ONNX contract is the same for all."""


class GuideLayers(nn.Module):
    """The training guide's layers: LSTM 256, 128, 64, dense 128, 64, 32, 4.

    With 9 inputs they hold 540,516 parameters. Dropout between LSTMs is a layer of its own:
    `dropout=` on a one-layer `nn.LSTM` does nothing.
    """

    def __init__(self, inputs: int) -> None:
        """`inputs`: columns of the sequence that goes in."""
        super().__init__()
        self.recompute = False
        """Keep little memory between forward and backward pass, for a third more time."""
        self.lstm1 = nn.LSTM(inputs, 256, batch_first=True)
        self.norm1 = nn.BatchNorm1d(256)
        self.lstm2 = nn.LSTM(256, 128, batch_first=True)
        self.norm2 = nn.BatchNorm1d(128)
        self.lstm3 = nn.LSTM(128, 64, batch_first=True)
        self.dropout = Dropout(0.3)
        self.dense1 = nn.Linear(64, 128)
        self.norm3 = nn.BatchNorm1d(128)
        self.dense2 = nn.Linear(128, 64)
        self.dropout2 = Dropout(0.21)
        self.dense3 = nn.Linear(64, 32)
        self.output = zeroed(nn.Linear(32, _TARGETS))

    def forward(self, sequence: Tensor) -> Tensor:
        """[batch, steps, inputs] to [batch, targets]."""
        if self.recompute and self.training:
            hidden = self._recomputed(self._first, sequence)
            return self._recomputed(self._last, self._recomputed(self._second, hidden))
        return self._last(self._second(self._first(sequence)))

    def _recomputed(self, part: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
        """The part's output; what it computed on the way is thrown away, and computed again for the gradient."""
        output: Tensor = checkpoint(
            part, given, use_reentrant=False, context_fn=lambda: (nullcontext(), self._without_statistics())
        )
        return output

    @contextmanager
    def _without_statistics(self) -> Iterator[None]:
        """Batch norms have seen the batch already when it is computed again."""
        norms = [layer for layer in self.children() if isinstance(layer, nn.BatchNorm1d)]
        before = [
            (norm.momentum, norm.num_batches_tracked.clone()) for norm in norms if norm.num_batches_tracked is not None
        ]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, (momentum, batches) in zip(norms, before, strict=True):
                norm.momentum = momentum
                norm.num_batches_tracked = batches

    def _first(self, sequence: Tensor) -> Tensor:
        hidden, _ = self.lstm1(sequence)
        kept: Tensor = self.dropout(self._normed(self.norm1, hidden))
        return kept

    def _second(self, hidden: Tensor) -> Tensor:
        hidden, _ = self.lstm2(hidden)
        kept: Tensor = self.dropout(self._normed(self.norm2, hidden))
        return kept

    def _normed(self, norm: nn.Module, hidden: Tensor) -> Tensor:
        """[batch, steps, features], normalised over batch and steps."""
        if self.training:  # the same, in less time: each sample's features lie side by side in memory
            flat: Tensor = norm(hidden.flatten(0, 1))
            return flat.view_as(hidden)
        normed: Tensor = norm(hidden.transpose(1, 2)).transpose(1, 2)
        return normed

    def _last(self, hidden: Tensor) -> Tensor:
        hidden, _ = self.lstm3(hidden)
        dense = self.norm3(self.dropout(torch.relu(self.dense1(hidden[:, -1]))))
        dense = self.dropout2(torch.relu(self.dense2(dense)))
        output: Tensor = self.output(torch.relu(self.dense3(dense)))
        return output


class Highway(nn.Module):
    """A short way from the whole window to the forecast: a linear autoregression, and dense nets on top of it.

    The linear part (the "autoregressive component" of LSTNet, Lai et al., SIGIR 2018) is solved, not trained
    (`least_absolute.fit`). The dense part sees all samples at once, so it learns in a fraction of the time that
    recurrent layers need. It is a mean of several nets that are trained side by side, each by its own error
    (Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    NeurIPS 2017).
    """

    largest_difference: Tensor

    def __init__(self, columns: int, encoded: int, members: int) -> None:
        """`columns` go into both parts, `encoded` further ones into the `members` dense nets alone."""
        super().__init__()
        self.dropout = 0.0
        """Share of each layer's outputs that a training leaves out."""
        self.linear = zeroed(nn.Linear(columns, _TARGETS))
        self.members = nn.ModuleList(DenseNet(columns + encoded) for _ in range(members))
        self.register_buffer("largest_difference", torch.full((_TARGETS,), _NO_BOUND))

    def forward(self, columns: Tensor, encoded: Tensor, trust: Tensor) -> Tensor:
        """[batch, columns] and [batch, encoded] to the change [batch, targets].

        `trust` [batch, 1]: 1 for the mean of all members, of which the last one has what `KNOWING_SHARE` leaves, 0 for
        the last one alone. Whatever the trust, no target is moved by more than `largest_difference` [targets]: where
        the members differ more than usual, a link is no longer what was learnt of it.
        """
        last, difference = self.last_and_difference(columns, encoded)
        return last + KNOWING_SHARE * trust * difference.clamp(-self.largest_difference, self.largest_difference)

    def last_and_difference(self, columns: Tensor, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """The change that the last member forecasts, and what the mean of the others adds: both [batch, targets]."""
        *knowing, last = (self.of_member(number, columns, encoded) for number in range(len(self.members)))
        return last, torch.stack(knowing).mean(dim=0) - last

    def of_member(self, number: int, columns: Tensor, encoded: Tensor) -> Tensor:
        """As `forward`, with one of the dense nets alone."""
        linear: Tensor = self.linear(columns)
        dense: Tensor = self.members[number](torch.cat((columns, encoded), dim=1), self.dropout)
        return linear + dense


class DenseNet(nn.Module):
    """Dense layers that give 0 until they are trained."""

    def __init__(self, columns: int) -> None:
        """`columns`: what goes in."""
        super().__init__()
        widths = [columns, *[HIGHWAY_WIDTH] * HIGHWAY_DEPTH]
        self.layers = nn.ModuleList(nn.Linear(given, width) for given, width in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths[1:])
        self.output = zeroed(nn.Linear(widths[-1], _TARGETS))

    def forward(self, given: Tensor, dropout: float) -> Tensor:
        """[batch, columns] to [batch, targets]; `dropout` counts in training only."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            given = dropped(nn.functional.silu(norm(layer(given))), dropout, training=self.training)
        change: Tensor = self.output(given)
        return change


class Dropout(nn.Dropout):
    """`nn.Dropout`, made as `dropped` makes it."""

    def forward(self, values: Tensor) -> Tensor:
        """Of any shape."""
        return dropped(values, self.p, training=self.training)


def dropped(values: Tensor, share: float, *, training: bool) -> Tensor:
    """In training, a random `share` of the values as 0 and the others scaled up: dropout.

    On a CPU torch draws a number of 64 bits for each value, which takes a seventh of a training step; 16 bits are
    enough to meet the share within 0.00001, so one draw does for four values.
    """
    if not training or share == 0 or values.device.type != "cpu":
        return nn.functional.dropout(values, share, training)
    count = values.numel()
    draws = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)  # all 64 bits
    kept = draws.view(torch.int16)[:count] >= round(share * 2**16) - 2**15
    return values * kept.view_as(values).to(values.dtype).div_(1 - share)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer, giving 0 for every input until it is trained."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def describe(architecture: str, members: int) -> dict[str, Any]:
    """The layers as the training guide's metadata lists them; `members`: dense nets of the highway."""
    return {
        "type": "LSTM" if architecture == "guide" else "dense",
        "framework": "PyTorch",
        "name": architecture,
        "layers": _GUIDE_LAYERS if architecture == "guide" else [],
        "highway": [
            {"type": "Linear", "units": _TARGETS, "activation": "linear", "fit": "least absolute deviations"},
            *[{"type": "Linear", "units": HIGHWAY_WIDTH, "activation": "layer norm, silu"}] * HIGHWAY_DEPTH,
            {"type": "Linear", "units": _TARGETS, "activation": "linear"},
        ],
        "highway_members": members,
    }


_GUIDE_LAYERS = [
    {"type": "LSTM", "units": 256},
    {"type": "BatchNorm1d", "features": 256},
    {"type": "Dropout", "rate": 0.3},
    {"type": "LSTM", "units": 128},
    {"type": "BatchNorm1d", "features": 128},
    {"type": "Dropout", "rate": 0.3},
    {"type": "LSTM", "units": 64},
    {"type": "Linear", "units": 128, "activation": "relu"},
    {"type": "Dropout", "rate": 0.3},
    {"type": "BatchNorm1d", "features": 128},
    {"type": "Linear", "units": 64, "activation": "relu"},
    {"type": "Dropout", "rate": 0.21},
    {"type": "Linear", "units": 32, "activation": "relu"},
    {"type": "Linear", "units": 4, "activation": "linear"},
]
