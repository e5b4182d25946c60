"""The batches that training draws from telemetry: streams and windows.

Half of the streams get gaps, and some get levels that jump: what a link was tells
nothing once it has changed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bwpredict import schema
from bwpredict.datasets.sequences import Floats, Sequences
from bwpredict.models.features import LEVELS, TARGETS
from bwpredict.models.network import Contract

CHUNK = 120
"""Samples through which a gradient goes back."""
STREAM = 2880
"""Samples of a stream: two days at one a minute."""
GAP_SHARE, JUMP_SHARE = 0.5, 0.3
"""Of the streams."""
LONGEST_GAP = 180
JUMP, LARGE_JUMP, LARGE_JUMP_SHARE = 0.4, 2.0, 0.1
"""Standard deviations in log space."""
UNFAMILIAR_SHARE = 0.2
"""Windows that are taken for those of a link that training never saw."""
_OFFSET = np.array([schema.COLUMN[name].floor for name in schema.TARGETS], np.float32)
_VALUES = [schema.FEATURES.index(name) for name in schema.MEASURED]


class Batch(NamedTuple):
    """Sequences with what came after each of their samples."""

    samples: Tensor
    """[batch, t, features] in raw units, NaN where missing."""
    smoothed: Tensor
    """[batch, t, horizons, targets] in log space: means of some minutes around each target; NaN where missing."""
    actual: Tensor
    """[batch, t, horizons, targets] in log space."""
    jumps: Tensor
    """[batch, t, targets] in log space: by how much the levels were moved."""

    def chunk(self, number: int) -> Batch:
        """The part of this many samples that comes after `number` others."""
        return Batch(*(part[:, number * CHUNK : (number + 1) * CHUNK] for part in self))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device, non_blocking=True) for part in self))


class Windows(NamedTuple):
    """Windows with what came after their last sample."""

    samples: Tensor
    """[batch, window_size, features] in raw units, NaN where missing."""
    smoothed: Tensor
    """[batch, 1, horizons, targets], as in `Batch`."""
    actual: Tensor
    level_noise: Tensor
    """[batch, levels], by how much levels are moved, in spreads of the fleet: as from day to day."""
    familiar: Tensor
    """[batch, 1], 1 or 0: whether levels may tell which link it is."""

    def to(self, device: torch.device) -> Windows:
        """The same on a device."""
        return Windows(*(part.to(device, non_blocking=True) for part in self))


class Sampler:
    """Draws batches of training sequences; the same for the same seed and numbers."""

    def __init__(self, sequences: Sequences, contract: Contract, drift: Floats, smoothing: int) -> None:
        """`drift` [levels], of a link from day to day, in spreads of the fleet; `smoothing`: see `TrainingConfig`."""
        self.sequences, self.contract, self.drift, self.smoothing = sequences, contract, drift, smoothing
        begin, end = sequences.spans
        longest = int((end - begin).max()) // contract.cadence_seconds - contract.horizons_steps[-1]
        self.chunks = max(1, min(STREAM, longest) // CHUNK)
        """Of a stream."""

    def streams(self, count: int, seed: tuple[int, ...]) -> Batch:
        """This many sequences, which are trained on chunk by chunk."""
        rng, length = np.random.default_rng(seed), self.chunks * CHUNK
        cut = self._draw(rng, count, length)
        _make_gaps(rng, cut, length)
        jumps = _jumps(rng, count, length)
        smoothed, actual = targets_ahead(_logs(cut), length, self.contract, self.smoothing)
        samples = cut[:, :length].copy()
        samples[..., :TARGETS] = np.maximum((samples[..., :TARGETS] + _OFFSET) * np.exp(jumps) - _OFFSET, 0)
        parts = (samples, smoothed + jumps[:, :, None], actual + jumps[:, :, None], jumps)
        return Batch(*(torch.from_numpy(part) for part in parts))

    def windows(self, count: int, seed: tuple[int, ...]) -> Windows:
        """This many windows: what a consumer without a memory knows."""
        rng, length = np.random.default_rng(seed), self.contract.window_size
        cut = self._draw(rng, count, length)
        smoothed, actual = targets_ahead(_logs(cut), length, self.contract, self.smoothing)
        noise = (rng.normal(size=(count, LEVELS)) * self.drift).astype(np.float32)
        familiar = (rng.random((count, 1)) >= UNFAMILIAR_SHARE).astype(np.float32)
        parts = (cut[:, :length].copy(), smoothed[:, -1:], actual[:, -1:], noise, familiar)
        return Windows(*(torch.from_numpy(part) for part in parts))

    def _draw(self, rng: np.random.Generator, count: int, length: int) -> Floats:
        """[count, length + what comes after, features], all links alike, at any time."""
        cadence, after = self.contract.cadence_seconds, self.contract.horizons_steps[-1] + self.smoothing
        which = rng.integers(0, len(self.sequences), count)
        begin, end = (edge[which] for edge in self.sequences.spans)
        room = np.maximum(0, (end - begin) // cadence - length - self.contract.horizons_steps[0])
        begins = begin + (rng.random(count) * (room + 1)).astype(np.int64) * cadence
        return self.sequences.cut(which, begins, length + after)


def _logs(cut: Floats) -> Floats:
    """[..., features] raw to [..., targets] in log space."""
    logs: Floats = np.log(np.maximum(cut[..., :TARGETS], 0) + _OFFSET)
    return logs


def targets_ahead(levels: Floats, length: int, contract: Contract, smoothing: int) -> tuple[Floats, Floats]:
    """[n, length, horizons, targets] each, smoothed and actual, of `levels` [n, more than length, targets].

    Smoothing stays well away from what the last sample shows: a fifth of the horizon at most.
    """
    size = max(levels.shape[1], length + contract.horizons_steps[-1])
    padded = np.full((len(levels), size + smoothing, TARGETS), np.nan, dtype=np.float32)
    padded[:, : levels.shape[1]] = levels
    smoothed, actual = [], []
    for steps in contract.horizons_steps:
        around = min(smoothing, steps // 5)
        parts = [padded[:, steps + shift : steps + shift + length] for shift in range(-around, around + 1)]
        smoothed.append(sum(parts) / len(parts))
        actual.append(parts[around])
    return np.stack(smoothed, axis=2), np.stack(actual, axis=2)


def _jumps(rng: np.random.Generator, count: int, length: int) -> Floats:
    """[count, length, targets] in log space: 0 before a random sample, another value from there on."""
    size = np.where(rng.random((count, 1, 1)) < LARGE_JUMP_SHARE, LARGE_JUMP, JUMP)
    jump = (rng.random((count, 1, 1)) < JUMP_SHARE) * rng.normal(size=(count, 1, TARGETS)) * size
    after = np.arange(length) >= rng.integers(0, length, (count, 1))
    return (jump * after[..., None]).astype(np.float32)


def _make_gaps(rng: np.random.Generator, cut: Floats, length: int) -> None:
    """In half of the sequences, remove minutes: single ones, single values, and one outage that begins in `length`."""
    count, rows, _ = cut.shape
    gappy = rng.random((count, 1)) < GAP_SHARE
    rate = rng.choice([0.002, 0.01, 0.05], size=(count, 1))
    begin, size = rng.integers(0, length, (count, 1)), rng.integers(0, LONGEST_GAP, (count, 1))
    outage = (np.arange(rows) >= begin) & (np.arange(rows) < begin + size)
    missing = gappy & (outage | (rng.random((count, rows)) < rate))
    single = gappy[..., None] & (rng.random((count, rows, len(_VALUES))) < rate[..., None] / 2)
    cut[..., _VALUES] = np.where(missing[..., None] | single, np.nan, cut[..., _VALUES])
