"""Raw samples of a link to what the network sees, and the memory of the link that this takes.

Levels are logarithms. Each is seen relative to moving averages of the link itself, in units of the link's own usual
deviation (instance normalisation), so that the same weights serve links of any size. A missing value (NaN) updates
nothing: its averages stay, only their weights decay, and a mask tells the network.

After a gap, the weights show how many of the last samples are present. The window starts anew, and each missing sample
counts as one usual deviation in its spread, so that intervals are wider.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bwpredict import schema

MEMORY_MINUTES = (4.0, 12.0, 40.0, 120.0, 480.0, 1440.0)
"""Time constants of the moving averages; the first is the anchor of every forecast."""
LONGEST_STEP = 240
"""Samples at a time: the arithmetic of the moving averages grows with their square."""
RECENT_SAMPLES = 20
"""Seen one by one, the current one included."""
SIMPLE_FORECASTS = ("last_value", "mean_15_minutes", "median_15_minutes")
_MEAN_MINUTES = 15
# A deviation is the distance to the 40 minutes' average; its own average is that of 480 minutes.
_DEVIATION_FROM, _DEVIATION_MEMORY = 2, 4
_OF_DEVIATION = slice(_DEVIATION_MEMORY, _DEVIATION_MEMORY + 1)
_MATURITY_MEMORY = 3  # of 120 minutes
_LONGEST_WINDOW = 4.0  # time constants of an average; the weights of a longer window are full ones in float32
_ROUNDING = 1e-4
_PRIOR_SAMPLES = 20  # the fleet's usual deviation weighs as much as that of this many samples of the link
_QUIET_SHARE = 0.05  # of the scale: a link whose own deviation is far below counts as constant, as does its forecast
_LARGEST_DEVIATION, _LARGEST_PLACE = 10.0, 6.0  # the network sees no larger ones
_EXCURSION_SHARE = 0.02  # of the last hours' samples: if more are beyond the largest deviation, the regime has changed
_LARGEST_STEP = 4.0  # deviations, and …
_LARGEST_JUMP = 1.0  # … of the logarithm: a level that has moved further than both is forecast by its last value
_SMALLEST_SCALE = 1e-3
_SMALLEST_SPREAD, _LARGEST_OWN = 2e-3, 6.0
_LARGEST_LOG = 80.0
_SMALLEST_WEIGHT, _NO_WEIGHT = 1e-6, 1e-35

TARGETS = len(schema.TARGETS)
CONTEXT = slice(len(schema.FEATURES) - len(schema.CONTEXT), len(schema.FEATURES))
"""Where the context lies on the feature axis; a slice, since CUDA graphs cannot copy a list of columns."""
LEVELS = len(schema.MEASURED)
CALENDAR = tuple(zip(schema.CALENDAR_COLUMNS, (24, 7), strict=True))
"""Column on the feature axis, and its period."""

_MEMORIES = len(MEMORY_MINUTES)
_PARTS = {
    "means": (_MEMORIES, LEVELS),
    "weights": (_MEMORIES, LEVELS),
    "deviation": (1, LEVELS),
    "deviation_weight": (1, LEVELS),
    "excursion": (1, LEVELS),
    "last": (1, LEVELS),
    "recent": (RECENT_SAMPLES - 1, TARGETS),
}
"""The memory's parts and their shapes, in the order in which they are in the state."""
MEMORY_SIZE = sum(math.prod(shape) for shape in _PARTS.values())
SEQUENCE_INPUTS = LEVELS * (_MEMORIES + 1) + TARGETS + 2 * len(CALENDAR) + LEVELS + _MEMORIES
"""Columns that the LSTM sees: changes, scale, calendar, mask, weights of the averages. No levels: they mislead about
links that training never saw, and of the others memory tells more."""
LEVEL_BINS = 48
SITUATION_INPUTS = 2 * len(CALENDAR) + LEVELS
WINDOW_INPUTS = (
    TARGETS * (3 * RECENT_SAMPLES + 1 + LEVEL_BINS) + LEVELS + 2 * len(schema.CONTEXT) + SITUATION_INPUTS + 1
)
"""Columns that the window head sees: see `FeatureLayer.window_inputs`."""
_KNOWN_WINDOWS = 256
_FAMILIAR_QUANTILE = 0.98
_SMALLEST_BIN = 1e-5


class Features(NamedTuple):
    """Of each sample, [batch, t, ...]; everything in log space."""

    sequence: Tensor
    """[batch, t, SEQUENCE_INPUTS]"""
    recent: Tensor
    """[batch, t, RECENT_SAMPLES, targets], log levels, the current one last."""
    anchor: Tensor
    """[batch, t, targets], the average of the last few minutes."""
    scale: Tensor
    """[batch, t, targets], the link's usual deviation."""
    movement: Tensor
    """[batch, t, targets], in [0, 1]: 0 where the link has not moved, ever or within the last window."""
    settled: Tensor
    """[batch, t, targets], 0 while the last samples are far from the level of the minutes before, else up to 1."""
    known: Tensor
    """[batch, t, targets], 1 once a value was seen, else 0."""
    deviation: Tensor
    """[batch, t, levels], the distance to the average of the last hour; 0 where missing."""
    situation: Tensor
    """[batch, t, SITUATION_INPUTS], calendar and mask."""
    context: Tensor
    """[batch, t, 3, context], log levels: now, and their averages of a few minutes."""
    missing: Tensor
    """[batch, t, targets], the share of the window that is not there: 0 if it is complete, 1 if no sample was seen."""
    maturity: Tensor
    """[batch, t, targets], how much memory there is of the present regime: 0 after a window of samples, or of changes
    that are larger than the network can see; 1 after four hours."""


class FeatureLayer(nn.Module):
    """Samples and the link's memory to features and the next memory; holds the fleet's scales."""

    def __init__(self, cadence_seconds: int, window_size: int) -> None:
        """Unscaled until `fit`."""
        super().__init__()
        self.minutes = cadence_seconds / 60
        self.window_samples = min(window_size, RECENT_SAMPLES)
        shortest = RECENT_SAMPLES * self.minutes / _LONGEST_WINDOW
        self.window_memory = sum(minutes < shortest for minutes in MEMORY_MINUTES[:-1])
        """Of the shortest average that remembers a whole window."""
        self.mean_samples = max(1, min(RECENT_SAMPLES, round(_MEAN_MINUTES / self.minutes)))
        self.level_mean = nn.Buffer(torch.zeros(LEVELS))
        self.level_spread = nn.Buffer(torch.ones(LEVELS))
        self.usual_deviation = nn.Buffer(torch.full((LEVELS,), 0.1))
        self.level_edges = nn.Buffer(torch.linspace(0, 1, LEVEL_BINS + 1).repeat(TARGETS, 1))
        self.known_levels = nn.Buffer(torch.zeros(TARGETS, _KNOWN_WINDOWS))
        self.familiar_within = nn.Buffer(torch.ones(()))
        self.memory_minutes = nn.Buffer(torch.tensor(MEMORY_MINUTES), persistent=False)
        self.count = nn.Buffer(torch.arange(1.0, LONGEST_STEP + 1), persistent=False)
        self.offset = nn.Buffer(torch.tensor([schema.COLUMN[name].floor for name in schema.MEASURED]))

    def levels(self, samples: Tensor) -> Tensor:
        """[..., features] raw to [..., levels], as log(value + offset): the targets, then the context."""
        columns = torch.cat((samples[..., :TARGETS], samples[..., CONTEXT]), dim=-1)
        return torch.log(columns.clamp(min=0) + self.offset)

    def forward(self, samples: Tensor, memory: Tensor) -> tuple[Features, Tensor]:
        """[batch, t, features] raw and memory [batch, MEMORY_SIZE] to features and the next memory."""
        before = _unpacked(memory)
        raw_levels = self.levels(samples)
        present = raw_levels.abs() < _LARGEST_LOG  # False of NaN
        mask = present.to(raw_levels.dtype)
        levels = torch.where(present, raw_levels, 0.0)
        bank, bank_weight = self._moving(levels, mask, before["means"], before["weights"], slice(None))
        # Never seen: what a raw value of 0 would be.
        means = torch.where(bank_weight > 0, bank, torch.log(self.offset)).unbind(1)
        filled = torch.where(present, levels, means[0])
        distance = (filled - means[_DEVIATION_FROM]).abs()
        deviation = torch.minimum(distance, _LARGEST_DEVIATION * self.usual_deviation)
        weight = before["deviation_weight"]
        own, own_weight = self._moving(deviation, mask, before["deviation"], weight, _OF_DEVIATION)
        scale = self._scale(own.squeeze(1), own_weight.squeeze(1))
        far = (distance > _LARGEST_DEVIATION * scale).to(levels.dtype)
        excursion, _ = self._moving(far, mask, before["excursion"], weight, _OF_DEVIATION)
        weights = bank_weight[..., :TARGETS].unbind(1)
        seen = (weights[-1] > 0).to(levels.dtype)
        there = self._samples_there(weights[self.window_memory])
        history = torch.cat((before["recent"], filled[..., :TARGETS]), dim=1)
        previous = torch.cat((before["last"], filled), dim=1).narrow(1, 0, filled.shape[1])
        step = torch.where(_seen_before(before["weights"], bank_weight), filled - previous, 0.0)
        anchor = means[0][..., :TARGETS]
        situation = torch.cat((_calendar(samples), 1 - mask), dim=-1)
        recent = self._windows(history, there, anchor)
        features = Features(
            sequence=self._sequence(filled, means, step, scale, situation, weights),
            recent=recent,
            anchor=anchor,
            scale=scale[..., :TARGETS],
            movement=_movement(recent, present, own.squeeze(1), scale),
            settled=self._settled(recent, scale[..., :TARGETS]),
            known=seen,
            deviation=deviation * mask,
            situation=situation,
            context=torch.stack((filled, means[0], means[1]), dim=2)[..., TARGETS:],
            missing=(1 - there / self.window_samples - _ROUNDING).clamp(min=0),
            maturity=self._maturity(weights[_MATURITY_MEMORY]) * _same_regime(means, scale, excursion.squeeze(1)),
        )
        after = {
            "means": bank.select(2, -1),
            "weights": _floored(bank_weight.select(2, -1)),
            "deviation": own.select(2, -1),
            "deviation_weight": _floored(own_weight.select(2, -1)),
            "excursion": excursion.select(2, -1),
            "last": filled.select(1, -1),
            "recent": history[..., 1 - RECENT_SAMPLES :, :],
        }
        return features, torch.cat([after[name].flatten(1) for name in _PARTS], dim=1)

    def window_inputs(
        self, features: Features, level_noise: Tensor | None = None, familiar: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """[batch, t, WINDOW_INPUTS] of the last samples without memory; their mean and spread [batch, t, targets].

        Samples appear twice: in units of the fleet's usual deviation, and in units of the window's own spread, which
        resolves the small changes of a quiet link. Samples that are missing count in the spread as much as the link's
        usual deviation does.

        Levels tell links apart that training saw, and mislead about others: they are hidden unless `familiar`
        [batch, 1], 1 or 0, says that they are known; without it, `familiarity` does.
        """
        last = features.recent[..., -1:, :]
        change = features.recent - last  # exactly 0 in a window that does not change, whatever rounds how
        mean = change[..., -self.mean_samples :, :].mean(dim=-2, keepdim=True)
        anchor = (last + mean).squeeze(-2)
        relative = (change - mean) / self.usual_deviation[:TARGETS]
        relative = relative.clamp(-_LARGEST_DEVIATION, _LARGEST_DEVIATION)
        unknown = features.missing * features.scale / self.usual_deviation[:TARGETS]
        spread = relative.abs().mean(dim=-2) + unknown + _SMALLEST_SPREAD
        own = (relative / spread.unsqueeze(-2)).clamp(-_LARGEST_OWN, _LARGEST_OWN)
        ordered = torch.topk(own, RECENT_SAMPLES, dim=-2).values
        known = self.familiarity(anchor) if familiar is None else familiar.unsqueeze(1).expand(-1, anchor.shape[1], -1)
        now, *averages = features.context.unbind(2)
        levels = torch.cat((anchor, now), dim=-1)
        if level_noise is not None:
            levels = levels + (level_noise * self.level_spread).unsqueeze(1)
        place = ((levels - self.level_mean) / self.level_spread).clamp(-_LARGEST_PLACE, _LARGEST_PLACE)
        fine = self._piecewise_linear(levels[..., :TARGETS])
        steps = torch.cat([(now - average) / self.usual_deviation[TARGETS:] for average in averages], dim=-1)
        steps = steps.clamp(-_LARGEST_DEVIATION, _LARGEST_DEVIATION)
        hidden = torch.cat((place, fine), dim=-1) * known
        samples = torch.cat((relative, own, ordered), dim=-1).flatten(-2)
        inputs = torch.cat((samples, torch.log(spread), steps, features.situation, hidden, known), dim=-1)
        return inputs, anchor, spread * self.usual_deviation[:TARGETS]

    def familiarity(self, anchor: Tensor) -> Tensor:
        """[batch, t, targets] in log space to [batch, t, 1]: 1 where training saw such levels, down to 0."""
        return (2 - self._strangeness(anchor) / self.familiar_within).clamp(0, 1)

    def _strangeness(self, anchor: Tensor) -> Tensor:
        """[..., 1], the largest difference of any level from the most similar known window, in usual deviations."""
        differences = ((anchor / self.usual_deviation[:TARGETS]).unsqueeze(-1) - self.known_levels).abs()
        return differences.amax(dim=-2).amin(dim=-1, keepdim=True)

    def _piecewise_linear(self, levels: Tensor) -> Tensor:
        """[..., targets] to [..., targets * LEVEL_BINS], how far each bin is filled.

        Tells close levels apart (Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning",
        NeurIPS 2022).
        """
        low, high = self.level_edges[:, :-1], self.level_edges[:, 1:]
        return ((levels.unsqueeze(-1) - low) / (high - low)).clamp(0, 1).flatten(-2)

    @torch.no_grad()
    def fit_levels(self, anchor: Tensor) -> None:
        """Get to know the levels of training windows [n, targets], means in log space."""
        edges = torch.quantile(anchor, torch.linspace(0, 1, LEVEL_BINS + 1), dim=0).T
        self.level_edges.copy_(edges + _SMALLEST_BIN * torch.arange(LEVEL_BINS + 1))
        chosen = torch.linspace(0, len(anchor) - 1, _KNOWN_WINDOWS).long()
        self.known_levels.copy_((anchor[chosen] / self.usual_deviation[:TARGETS]).T)
        others = anchor[torch.linspace(1, len(anchor) - 1, 8 * _KNOWN_WINDOWS).long()]
        strangeness = torch.cat([self._strangeness(part) for part in torch.split(others, _KNOWN_WINDOWS)])
        self.familiar_within.copy_(torch.quantile(strangeness, _FAMILIAR_QUANTILE).clamp(min=1.0))

    def simple_forecasts(self, recent: Tensor) -> Tensor:
        """[..., RECENT_SAMPLES, targets] to [..., len(SIMPLE_FORECASTS), targets], in log space."""
        last_minutes = recent[..., -self.mean_samples :, :]
        ordered = torch.topk(last_minutes, self.mean_samples, dim=-2).values
        middle = (ordered.select(-2, self.mean_samples // 2) + ordered.select(-2, (self.mean_samples - 1) // 2)) / 2
        return torch.stack((recent.select(-2, -1), last_minutes.mean(dim=-2), middle), dim=-2)

    @torch.no_grad()
    def fit(self, samples: Tensor) -> None:
        """Measure the fleet's scales on sequences [n, t, features] in raw units, NaN where a value is missing."""
        levels = self.levels(samples)
        present = levels.abs() < _LARGEST_LOG
        count = present.sum(dim=(0, 1)).clamp(min=1)
        mean = torch.where(present, levels, 0.0).sum(dim=(0, 1)) / count
        variance = torch.where(present, (levels - mean).square(), 0.0).sum(dim=(0, 1)) / count
        self.level_mean.copy_(mean)
        self.level_spread.copy_(variance.sqrt().clamp(min=_SMALLEST_SCALE))
        memory, total = levels.new_zeros(len(levels), MEMORY_SIZE), 0.0
        self.usual_deviation.fill_(1.0)
        for step in torch.split(samples, LONGEST_STEP, dim=1):
            features, memory = self(step, memory)
            total = total + features.deviation.sum(dim=(0, 1))
        deviation = total / count
        self.usual_deviation.copy_(deviation.clamp(min=_SMALLEST_SCALE))

    def _moving(
        self, values: Tensor, mask: Tensor, mean: Tensor, weight: Tensor, memories: slice
    ) -> tuple[Tensor, Tensor]:
        """Exponential moving averages, right from the first sample on: the weight that is there corrects their bias.

        values, mask [batch, t, columns]; mean, weight [batch, memories, columns] so far. Returns both [batch, memories,
        t, columns]; weights are 0 (never seen) to 1.
        """
        decay = self.minutes / self.memory_minutes[memories]
        batch, count, columns = values.shape
        steps = self.count[:count]
        lag = steps.unsqueeze(1) - steps  # how many samples the first is after the second
        kernel = torch.where(lag >= 0, torch.exp(-lag.clamp(min=0) * decay.view(-1, 1, 1)), 0.0)
        kernel = kernel * (1 - torch.exp(-decay)).view(-1, 1, 1)
        both = torch.cat((values * mask, mask), dim=-1).transpose(0, 1).reshape(count, batch * 2 * columns)
        sums = (kernel @ both.unsqueeze(0)).reshape(len(decay), count, batch, 2, columns)
        of_values, of_mask = sums.permute(2, 0, 1, 3, 4).unbind(3)
        mean = mean.unsqueeze(2)
        carried = torch.exp(-self.count[:count] * decay.unsqueeze(1)).unsqueeze(-1) * weight.unsqueeze(2)
        total = of_mask + carried
        averaged = (of_values + carried * mean) / total.clamp(min=_NO_WEIGHT)
        return torch.where(total > _NO_WEIGHT, averaged, mean), total

    def _samples_there(self, weight: Tensor) -> Tensor:
        """How many samples, one after another, give an average this weight; [...] like `weight`.

        In a stream without gaps that is the number of its samples, after a long gap of those since then.
        """
        time_constant = MEMORY_MINUTES[self.window_memory] / self.minutes
        return -time_constant * torch.log((1 - weight).clamp(min=_NO_WEIGHT))

    def _windows(self, history: Tensor, there: Tensor, anchor: Tensor) -> Tensor:
        """[batch, t, RECENT_SAMPLES, targets] of `history` [batch, RECENT_SAMPLES - 1 + t, targets].

        The anchor stands in for samples before the last ones that are `there` [batch, t, targets]. If their number is
        not whole, the oldest is between the two: with a threshold, a rounding error could exchange them.
        """
        ago = torch.arange(RECENT_SAMPLES - 1, -1, -1, device=history.device)
        place = self.count[: there.shape[1]].long().unsqueeze(1) + (RECENT_SAMPLES - 2 - ago)
        stacked = torch.unflatten(history.index_select(1, place.flatten()), 1, place.shape)
        before = (2 * (ago.unsqueeze(1) - there.unsqueeze(2)) + 1.5).clamp(0, 1)
        return stacked + before * (anchor.unsqueeze(2) - stacked)

    def _scale(self, mean: Tensor, weight: Tensor) -> Tensor:
        """[batch, t, levels], the usual deviation, at first the fleet's."""
        prior = 1 - math.exp(-_PRIOR_SAMPLES * self.minutes / MEMORY_MINUTES[_DEVIATION_MEMORY])
        return (mean * weight + prior * self.usual_deviation) / (weight + prior)

    def _settled(self, recent: Tensor, scale: Tensor) -> Tensor:
        """[batch, t, targets], by the last two samples: one alone may be an outlier.

        Measured round-trip times often double for some minutes, and come back.
        """
        mean = recent[..., -self.mean_samples :, :].mean(dim=-2, keepdim=True)
        step = (recent[..., -2:, :] - mean).abs().amin(dim=-2)
        return _faded(step / (_LARGEST_STEP * scale).clamp(min=_LARGEST_JUMP))

    def _maturity(self, weight: Tensor) -> Tensor:
        """0 to 1 of the weight of the 120 minutes' average."""
        minutes = MEMORY_MINUTES[_MATURITY_MEMORY]
        none, full = (1 - math.exp(-samples / minutes) for samples in (20 * self.minutes, 240))
        return ((weight - none) / max(full - none, 1e-3)).clamp(0, 1)

    def _sequence(
        self,
        filled: Tensor,
        means: tuple[Tensor, ...],
        step: Tensor,
        scale: Tensor,
        situation: Tensor,
        weights: tuple[Tensor, ...],
    ) -> Tensor:
        """[batch, t, SEQUENCE_INPUTS]"""
        changes = [now - slower for now, slower in itertools.pairwise((filled, *means))]
        relative = torch.cat([change / scale for change in (*changes, step)], dim=-1)
        size = torch.log(scale / self.usual_deviation)[..., :TARGETS]
        maturity = torch.stack(weights, dim=-1).mean(dim=-2)
        parts = (
            relative.clamp(-_LARGEST_DEVIATION, _LARGEST_DEVIATION),
            size.clamp(-_LARGEST_PLACE, _LARGEST_PLACE),
            situation,
            maturity,
        )
        return torch.cat(parts, dim=-1)


def _calendar(samples: Tensor) -> Tensor:
    """[batch, t, 4]: hour and day as sines and cosines; 0 where they are missing."""
    angles = [samples.select(-1, column) * (2 * math.pi / period) for column, period in CALENDAR]
    parts = torch.stack([function(angle) for angle in angles for function in (torch.sin, torch.cos)], dim=-1)
    return torch.where(parts.abs() < 2, parts, 0.0)  # NaN is not


def _movement(recent: Tensor, present: Tensor, deviation: Tensor, scale: Tensor) -> Tensor:
    """[batch, t, targets], by the smaller one of the long and the window's deviation; in a gap, by the long one."""
    long, unit = deviation[..., :TARGETS], scale[..., :TARGETS]
    window = (recent - recent[..., -1:, :]).abs().mean(dim=-2)
    own = torch.where(present[..., :TARGETS], torch.minimum(long, window), long)
    return own / (own + _QUIET_SHARE * unit)


def _same_regime(means: tuple[Tensor, ...], scale: Tensor, excursion: Tensor) -> Tensor:
    """[batch, t, targets]: 0 where averages are too far apart, or one of the targets was, for too long; else up to 1.

    excursion [batch, t, levels], the share of samples that were far from the average of their hour.
    """
    apart = torch.stack([(mean - means[0]).abs() for mean in means[1:]]).amax(dim=0) / scale
    away = excursion[..., :TARGETS].amax(dim=-1, keepdim=True)
    return _faded(apart[..., :TARGETS] / _LARGEST_DEVIATION) * _faded(away / _EXCURSION_SHARE)


def _faded(share: Tensor) -> Tensor:
    """1 up to a share of 1, and 0 from 2 on."""
    return (2 - share).clamp(0, 1)


def _seen_before(before: Tensor, weight: Tensor) -> Tensor:
    """[batch, t, levels], whether there was a value before this minute's, by the slowest average's weights.

    before [batch, memories, levels], weight [batch, memories, t, levels].
    """
    slowest = weight.select(1, -1)
    return torch.cat((before[..., -1:, :], slowest), dim=1).narrow(1, 0, slowest.shape[1]) > 0


def _floored(weight: Tensor) -> Tensor:
    """However long a gap is, its link has been seen."""
    return torch.where(weight > 0, weight.clamp(min=_SMALLEST_WEIGHT), 0.0)


def _unpacked(memory: Tensor) -> dict[str, Tensor]:
    sizes = [math.prod(shape) for shape in _PARTS.values()]
    parts = torch.split(memory, sizes, dim=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(_PARTS.items(), parts, strict=True)}
