"""Batch norm over the windows of all ranks, and the sum over ranks that it is made of."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


def use_global_batch_norm(layers: nn.Module) -> None:
    """Replace each batch norm of `layers` by one over the ranks' windows together; weights and statistics stay."""
    for name, layer in list(layers.named_children()):
        if isinstance(layer, nn.BatchNorm1d) and not isinstance(layer, GlobalBatchNorm):
            replacement = GlobalBatchNorm(layer.num_features, layer.eps, layer.momentum).to(layer.weight.device)
            replacement.load_state_dict(layer.state_dict())
            setattr(layers, name, replacement)


class GlobalBatchNorm(nn.BatchNorm1d):
    """Batch norm with the statistics of all ranks' windows, on CPU as on GPU (`SyncBatchNorm` is for GPUs only)."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of nn.Module's
        """[batch, features] or [batch, features, steps], normalised over all but the features."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        over = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        # The ranks' shares of a batch are not of one size, and may be empty.
        count = sum_over_ranks(torch.full((1,), float(input.numel() // self.num_features), device=input.device))
        mean = sum_over_ranks(values.sum(dim=over)) / count
        centred = values - mean.view(shape)
        variance = sum_over_ranks(centred.square().sum(dim=over)) / count
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * count / (count - 1))
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None  # noqa: S101, PT018
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum or 0.0)
        self.running_var.lerp_(unbiased_variance, self.momentum or 0.0)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of the ranks' tensors, through which gradients flow back to every rank."""
    return _SumOverRanks.apply(value)  # type: ignore[no-untyped-call, no-any-return]


class _SumOverRanks(torch.autograd.Function):
    """all-reduce forwards, and of the gradient backwards: each rank's loss depends on every rank's values."""

    @staticmethod
    def forward(context: object, value: Tensor) -> Tensor:  # noqa: ARG004
        summed = value.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:  # noqa: ARG004
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed
