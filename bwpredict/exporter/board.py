"""The newest forecast, sample and anomaly score of each link, and the forecasts that wait for the actual values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.errors import ModelError
from bwpredict.exporter.distribution import anomaly_score
from bwpredict.serving.adaptive_intervals import Link, keep_rows, rows_of
from bwpredict.serving.stream import StreamForecasts
from bwpredict.store.files import atomic_path

MUTE_AFTER_SECONDS = 300
"""A link without a sample for longer is mute: its forecasts are no longer told."""
REREAD_MINUTES = 5
"""Minutes that are read again each time, for samples that arrive late."""
_SEEN = 8
"""Minutes of a link that are remembered, more than are read again: a sample that was seen is no late one."""
_WAITING = schema.HORIZON_MINUTES
"""Forecasts of a link that wait, one for each minute of the contract's horizon."""
_FLOORS = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])
_TARGETS = len(schema.TARGETS)

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Shape = tuple[tuple[float, ...], tuple[float, ...]]
"""Horizons in minutes, and levels of the quantiles."""


@dataclass(frozen=True)
class Figures:
    """The figures that the exporter serves for links that are not mute. Immutable; each minute replaces them."""

    links: list[str]
    """Their labels."""
    horizons_minutes: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    quantiles: Floats = field(default_factory=lambda: np.zeros((0, 0, 0, _TARGETS), np.float32))
    """[links, horizons, levels, targets]"""
    actual: Floats = field(default_factory=lambda: np.zeros((0, _TARGETS), np.float32))
    score: Floats = field(default_factory=lambda: np.zeros((0, _TARGETS), np.float32))
    known: int = 0
    warm: int = 0
    """Of the links that are not mute."""
    newest_at: int = 0
    """Unix second of the newest sample; 0: none yet."""


@dataclass(frozen=True)
class Judged:
    """The actual values of forecasts at the contract's horizon; each [targets], over all links of a minute."""

    count: Floats
    within: Floats
    error: Floats
    """Sum of the forecasts' absolute errors."""
    persistence_error: Floats
    """The same of the last value that was known when the forecast was made."""


@dataclass
class Board:
    """A row of each array belongs to one link."""

    shape: Shape = ((), ())
    row: dict[Link, int] = field(default_factory=dict)
    at: Rows = field(default_factory=lambda: np.zeros(0, np.int64))
    """Unix second of the newest sample that was taken."""
    seen: Rows = field(default_factory=lambda: np.zeros((0, _SEEN), np.int64))
    """Minutes whose sample arrived, taken or late."""
    warm: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    quantiles: Floats = field(default_factory=lambda: np.zeros((0, 0, 0, _TARGETS), np.float32))
    actual: Floats = field(default_factory=lambda: np.zeros((0, _TARGETS), np.float32))
    score: Floats = field(default_factory=lambda: np.zeros((0, _TARGETS), np.float32))
    due_at: Rows = field(default_factory=lambda: np.zeros((0, _WAITING), np.int64))
    """[links, waiting], unix second that a waiting forecast is for; 0: none."""
    promised: Floats = field(default_factory=lambda: np.zeros((0, _WAITING, 4, _TARGETS), np.float32))
    """[links, waiting, 4, targets]: lower, median, upper, and the last value known."""

    @property
    def newest_at(self) -> int:
        """Unix second of the newest sample of all links; 0: none yet."""
        return int(self.at.max(initial=0))

    def fresh(self, links: Sequence[Link], at: int) -> tuple[npt.NDArray[np.bool_], int]:
        """[n], which links' sample of this minute is newer than their last one, and how many came too late.

        A sample that was seen before is neither. One that is fresh counts as seen once it is taken.
        """
        rows, place = self._rows_of(links), _minute(at) % _SEEN
        new = self.seen[rows, place] != at
        fresh = new & (self.at[rows] < at)
        late = new & ~fresh
        self.seen[rows[late], place] = at
        return fresh, int(late.sum())

    def take(self, answer: StreamForecasts, samples: Floats, at: int) -> Judged:
        """Note the step of one minute; `samples` [n, features] are those of the answer's links, in its order."""
        self._fit((answer.horizons_minutes, answer.quantile_levels))
        rows, actual = self._rows_of(answer.links), samples[:, schema.TARGET_FEATURES]
        place = _minute(at) % _WAITING
        lower, median, upper, previous = self.promised[rows, place].transpose(1, 0, 2)
        kept = (self.due_at[rows, place] == at)[:, None]
        score = np.where(kept, anomaly_score(actual, lower, median, upper, _FLOORS), np.nan)
        judged = _judge(actual, lower, median, upper, np.where(kept, previous, np.nan))
        self.seen[rows, _minute(at) % _SEEN] = at
        self.at[rows], self.warm[rows], self.actual[rows], self.score[rows] = at, answer.warm, actual, score
        self.quantiles[rows] = with_adapted_bounds(answer)
        named = [answer.forecasts[name] for name in schema.TARGETS]
        bounds = [np.stack(each, axis=1) for each in zip(*((t.lower, t.value, t.upper) for t in named), strict=True)]
        self.promised[rows, place] = np.stack((*bounds, actual), axis=1)
        self.due_at[rows, place] = at + 60 * schema.HORIZON_MINUTES
        return judged

    def figures(self, clock: int) -> Figures:
        """Copies of what is known of the links with a sample within `MUTE_AFTER_SECONDS` of `clock`."""
        heard = np.flatnonzero(self.at >= max(clock - MUTE_AFTER_SECONDS, 1))
        links = list(self.row)
        return Figures(
            [f"{links[row][0]}-{links[row][1]}" for row in heard.tolist()],
            *self.shape,
            quantiles=self.quantiles[heard],
            actual=self.actual[heard],
            score=self.score[heard],
            known=int((self.at > 0).sum()),
            warm=int(self.warm[heard].sum()),
            newest_at=self.newest_at,
        )

    def forget(self, before: int) -> None:
        """Drop the links without a sample since the unix second `before`."""
        kept = keep_rows(self.row, self.at, before)
        if len(kept) < len(self.at):
            for name in _ARRAYS:
                setattr(self, name, getattr(self, name)[kept])

    def save(self, path: Path) -> None:
        """Write everything to a file (`.npz`), atomically."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        links = np.array(list(self.row), np.int64).reshape(-1, 2)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, links=links, horizons=self.shape[0], levels=self.shape[1], **arrays)

    @classmethod
    def load(cls, path: Path) -> Board:
        """What `save` wrote. Raises ModelError: the file is none of these, or incomplete."""
        try:
            with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            shape = (tuple(arrays["horizons"].tolist()), tuple(arrays["levels"].tolist()))
            links = [(int(node), int(peer)) for node, peer in arrays["links"]]
            board = cls(
                shape, {link: row for row, link in enumerate(links)}, **{name: arrays[name] for name in _ARRAYS}
            )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ModelError(
                f"{path}: is not a complete file of exporter figures; the exporter starts with new ones."
            ) from error
        return board

    def _rows_of(self, links: Sequence[Link]) -> Rows:
        """[n], with new rows for links that are new."""
        rows = rows_of(self.row, links)
        if missing := len(self.row) - len(self.at):
            for name in _ARRAYS:
                old = getattr(self, name)
                setattr(self, name, np.concatenate((old, np.zeros((missing, *old.shape[1:]), old.dtype))))
        return rows

    def _fit(self, shape: Shape) -> None:
        """Have room for the model's horizons and levels: another model may have others."""
        if shape != self.shape:
            self.shape = shape
            self.quantiles = np.full((len(self.at), *map(len, shape), _TARGETS), np.nan, np.float32)


_ARRAYS = ("at", "seen", "warm", "quantiles", "actual", "score", "due_at", "promised")


def with_adapted_bounds(answer: StreamForecasts) -> Floats:
    """The quantiles, at the contract's horizon with the outer ones that follow each link, where they are the same."""
    quantiles, levels = answer.quantiles.copy(), answer.quantile_levels
    level = answer.forecasts.interval_level
    if level is None or schema.HORIZON_MINUTES not in answer.horizons_minutes:
        return quantiles
    horizon = answer.horizons_minutes.index(schema.HORIZON_MINUTES)
    outer = ((1 - level) / 2, (1 + level) / 2)
    if np.allclose((levels[0], levels[-1]), outer):
        for target, name in enumerate(schema.TARGETS):
            quantiles[:, horizon, 0, target] = answer.forecasts[name].lower
            quantiles[:, horizon, -1, target] = answer.forecasts[name].upper
    return quantiles


def _judge(actual: Floats, lower: Floats, median: Floats, upper: Floats, previous: Floats) -> Judged:
    there = np.isfinite(actual) & np.isfinite(previous)
    return Judged(
        count=there.sum(axis=0),
        within=(there & (actual >= lower) & (actual <= upper)).sum(axis=0),
        error=np.where(there, np.abs(actual - median), 0).sum(axis=0),
        persistence_error=np.where(there, np.abs(actual - previous), 0).sum(axis=0),
    )


def _minute(at: int) -> int:
    return at // schema.CADENCE_SECONDS
