"""Find links whose telemetry is odd although every value is possible: it never changes, or its unit does.

Nothing here stops a run: the model's log space takes both. But the figures of such a link mean little, so the report
names it. Each link's time is cut into stretches, and each stretch has its quartiles:

- A link is constant in a column whose least and largest values are the same.
- A unit changed where all three quartiles jump by the same of `UNIT_FACTORS`, up or down. Traffic that grows or
  falls moves its quartiles apart; another unit does not.
- A stretch is a repetition where most links have the very quartiles of the stretch before, in every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bwpredict import schema
from bwpredict.core.parts import ascending
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.telemetry.days import DAY_SECONDS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

UNIT_FACTORS = {8: 1.15, 1_000: 2.0, 1_000_000: 2.0}
"""Factors between units that collectors mix up (bits and bytes, thousands, millions); and how many times more or less
a quartile's jump may be, since traffic is never quite the same: less for 8, which a busy day comes near."""
MIN_SAMPLES = 30
"""Of a link: with fewer it is not constant but short, and has no quartiles in a stretch."""
SHORT_SPAN_DAYS = 3
"""Telemetry of fewer days is cut into hours, since days would be too few to compare."""
HOUR_SECONDS = 3_600
NAMED_LINKS = 3
_QUARTILES = (0.25, 0.5, 0.75)
_TARGETS = len(schema.TARGETS)
_CONTEXT = set(schema.CONTEXT)


@dataclass(frozen=True)
class Levels:
    """What the targets of some links did in one stretch of time, or in several, one after another."""

    links: tuple[tuple[int, int], ...]
    """(node_id, peer_id), ascending."""
    starts: tuple[int, ...]
    """[stretches], unix seconds."""
    samples: Integers
    """[links, targets], values that are finite."""
    minimum: Floats
    """[links, targets], over all stretches; infinite where there is no sample."""
    maximum: Floats
    quartiles: Floats
    """[stretches, links, targets, 3]; NaN in a stretch with too few samples."""


@dataclass(frozen=True)
class ConstantLink:
    """A link whose target had the one value `value` in all samples."""

    link: tuple[int, int]
    value: float


@dataclass(frozen=True)
class UnitChange:
    """A link whose target was multiplied by about `factor` (above 1: up, below: down) from `timestamp_s` on."""

    link: tuple[int, int]
    factor: float
    timestamp_s: int


@dataclass(frozen=True)
class Repetition:
    """A stretch from `timestamp_s` on that repeats the one before on `links` of the `of` links that have both."""

    timestamp_s: int
    links: int
    of: int


def stretch_levels(start: int, node: Integers, peer: Integers, values: npt.NDArray[np.floating[Any]]) -> Levels:
    """The levels of one stretch from its rows, in any order; `values` [rows, targets], NaN where missing."""
    keys, code = _numbered(node, peer)
    by_link = slice(None) if ascending([code]) else np.argsort(code, kind="stable")
    code = code[by_link]
    samples = np.zeros((len(keys), _TARGETS), dtype=np.int64)
    minimum, maximum = np.full(samples.shape, np.inf), np.full(samples.shape, -np.inf)
    quartiles = np.full((1, *samples.shape, len(_QUARTILES)), np.nan)
    for place in range(_TARGETS):
        column = values[:, place][by_link].astype(np.float64)
        known = np.isfinite(column)
        column = column[known]
        counts = np.bincount(code[known], minlength=len(keys))
        there, past = counts > 0, np.cumsum(counts)
        first = past - counts
        for begin, end in zip(first.tolist(), past.tolist(), strict=True):
            column[begin:end].sort()
        samples[:, place] = counts
        minimum[there, place] = column[first[there]]
        maximum[there, place] = column[(past - 1)[there]]
        enough = counts >= MIN_SAMPLES
        for number, share in enumerate(_QUARTILES):
            at = first + np.round((counts - 1) * share).astype(np.int64)
            quartiles[0, enough, place, number] = column[at[enough]]
    return Levels(tuple((int(n), int(p)) for n, p in keys), (start,), samples, minimum, maximum, quartiles)


def merge_levels(stretches: Sequence[Levels]) -> Levels:
    """The levels of all stretches together, in order of time; they may hold different links.

    A stretch may come in several parts, each with other links.
    """
    links = tuple(sorted({link for each in stretches for link in each.links}))
    place = {link: number for number, link in enumerate(links)}
    starts = tuple(sorted({start for each in stretches for start in each.starts}))
    row = {start: number for number, start in enumerate(starts)}
    samples = np.zeros((len(links), _TARGETS), dtype=np.int64)
    minimum, maximum = np.full(samples.shape, np.inf), np.full(samples.shape, -np.inf)
    quartiles = np.full((len(starts), *samples.shape, len(_QUARTILES)), np.nan)
    for each in stretches:
        at = np.array([place[link] for link in each.links], dtype=np.int64)
        samples[at] += each.samples
        minimum[at] = np.minimum(minimum[at], each.minimum)
        maximum[at] = np.maximum(maximum[at], each.maximum)
        cells = np.ix_(np.array([row[start] for start in each.starts], dtype=np.int64), at)
        quartiles[cells] = np.where(np.isnan(each.quartiles), quartiles[cells], each.quartiles)
    return Levels(links, starts, samples, minimum, maximum, quartiles)


def constant_links(levels: Levels, target: str) -> list[ConstantLink]:
    """The links on which the target never changed."""
    place = schema.TARGETS.index(target)
    low, high, counts = levels.minimum[:, place], levels.maximum[:, place], levels.samples[:, place]
    at = np.flatnonzero((low == high) & (counts >= MIN_SAMPLES))
    return [ConstantLink(levels.links[each], float(low[each])) for each in at]


def unit_changes(levels: Levels, target: str) -> list[UnitChange]:
    """The first change of unit of each link that has one, dated by the first stretch that holds the new unit."""
    quartiles = levels.quartiles[:, :, schema.TARGETS.index(target)]
    found: dict[int, UnitChange] = {}
    # Compare neighbouring stretches first; then those two apart, for a unit that changed within a stretch.
    for apart in (1, 2):
        factors = _unit_factors(quartiles[:-apart], quartiles[apart:])
        across = {
            int(link): UnitChange(levels.links[link], float(factors[stretch, link]), levels.starts[stretch + 1])
            for stretch, link in np.argwhere(np.isfinite(factors))[::-1]
        }
        found = across | found
    return [found[link] for link in sorted(found)]


def repetitions(levels: Levels) -> list[Repetition]:
    """The stretches that most links repeat, as when a collector sends yesterday's values with today's times.

    Links that hardly change prove nothing: in one target at least, the three quartiles of a repetition differ.
    """
    quartiles = levels.quartiles.reshape(len(levels.starts), len(levels.links), _TARGETS * len(_QUARTILES))
    before, after = quartiles[:-1], quartiles[1:]
    both = np.isfinite(before).any(axis=2) & np.isfinite(after).any(axis=2)
    same = ((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=2)
    steps: Floats = np.diff(levels.quartiles[1:], axis=3)
    lively = np.all(steps > 0, axis=3).any(axis=2)
    repeated, of = (both & same & lively).sum(axis=1), (both & lively).sum(axis=1)
    return [
        Repetition(levels.starts[stretch + 1], int(repeated[stretch]), int(of[stretch]))
        for stretch in np.flatnonzero(repeated > of / 2)
    ]


def frame_levels(frame: TelemetryFrame) -> Levels:
    """The levels of a frame: stretches are UTC days, or hours where it holds few days."""
    days = (int(frame.timestamps.max()) - int(frame.timestamps.min())) / DAY_SECONDS
    length_s = HOUR_SECONDS if days < SHORT_SPAN_DAYS else DAY_SECONDS
    keys = frame.links[list(schema.LINK_KEY)].to_numpy(np.int64)[frame.link]
    return merge_levels(
        levels_of_rows(frame.timestamps, keys[:, 0], keys[:, 1], frame.values[:, schema.TARGET_FEATURES], length_s)
    )


def levels_of_rows(
    timestamps_s: Integers, node: Integers, peer: Integers, values: npt.NDArray[np.floating[Any]], length_s: int
) -> list[Levels]:
    """The levels of each stretch of `length_s` that has rows, ascending; rows as for `stretch_levels`."""
    stretch = timestamps_s // length_s
    if ascending([stretch]):
        edges = np.unique([0, *(np.flatnonzero(np.diff(stretch)) + 1), len(stretch)])
        numbers = stretch[edges[:-1]]
        parts: Sequence[Any] = [slice(*span) for span in pairwise(edges.tolist())]
    else:
        order = np.argsort(stretch, kind="stable")
        numbers, first = np.unique(stretch[order], return_index=True)
        parts = np.split(order, first[1:])
    return [
        stretch_levels(int(number) * length_s, node[rows], peer[rows], values[rows])
        for number, rows in zip(numbers, parts, strict=True)
    ]


def find_anomalies(frame: TelemetryFrame) -> list[str]:
    """What is odd about the telemetry, in sentences for people: at most two for a target, one for another feature."""
    filled, names = frame.filled or {}, _link_names(frame.links)
    told = [
        f"{name} is {frame.values[0, place]:g} in every row, so nothing can be learnt from it."
        for place, name in enumerate(schema.FEATURES)
        if name in _CONTEXT and name not in filled and (frame.values[:, place] == frame.values[0, place]).all()
    ]
    levels = frame_levels(frame)
    for name in (name for name in schema.TARGETS if name not in filled):
        constant, changed = constant_links(levels, name), unit_changes(levels, name)
        if constant:
            told.append(f"{name} {constant_sentence(constant, len(levels.links), names)}; skill is undefined there.")
        if changed:
            told.append(
                f"{name} {unit_change_sentence(changed, len(levels.links), names)}; expected one unit throughout."
            )
    return told


def constant_sentence(
    found: Sequence[ConstantLink], links: int, names: dict[tuple[int, int], str] | None = None
) -> str:
    """ "never changes on 2 of 40 links: 1→2 (always 5), 3→4 (always 0)"."""
    return f"never changes on {_listed([(each.link, f'always {each.value:g}') for each in found], links, names)}"


def unit_change_sentence(
    found: Sequence[UnitChange], links: int, names: dict[tuple[int, int], str] | None = None
) -> str:
    """ "jumps as if its unit changed on 1 of 40 links: 1→2 (about 1,000 times as much from 2026-10-12T00:00Z)"."""
    told = [(each.link, f"about {_times(each.factor)} from {_moment(each.timestamp_s)}") for each in found]
    return f"jumps as if its unit changed on {_listed(told, links, names)}"


def repetition_sentence(found: Sequence[Repetition]) -> str:
    """ "1 day repeats the values of the previous recorded day: 2026-10-12 (on 40 of 40 links)"."""
    shown = [f"{_moment(each.timestamp_s)[:10]} (on {each.links:,} of {each.of:,} links)" for each in found]
    words = "day repeats" if len(found) == 1 else "days repeat"
    return f"{len(found):,} {words} the values of the previous recorded day: {_first_few(shown)}"


def _numbered(node: Integers, peer: Integers) -> tuple[Integers, Integers]:
    """The distinct pairs [links, 2], ascending, and the number of each row's pair [rows]."""
    if ascending([node, peer]):
        begins = np.ones(len(node), dtype=bool)
        begins[1:] = (node[1:] != node[:-1]) | (peer[1:] != peer[:-1])
        return np.stack([node[begins], peer[begins]], axis=1), np.cumsum(begins) - 1
    (a, nodes), (b, peers) = (pd.factorize(each, sort=True) for each in (node, peer))
    code, pairs = pd.factorize(a * max(1, len(peers)) + b, sort=True)
    return np.stack([nodes[pairs // max(1, len(peers))], peers[pairs % max(1, len(peers))]], axis=1), code


def _times(factor: float) -> str:
    return f"{factor:,.0f} times as much" if factor > 1 else f"1/{1 / factor:,.0f} as much"


def _moment(timestamp_s: int) -> str:
    return pd.Timestamp(timestamp_s, unit="s").strftime("%Y-%m-%dT%H:%MZ")


def _listed(told: Sequence[tuple[tuple[int, int], str]], links: int, names: dict[tuple[int, int], str] | None) -> str:
    shown = [f"{(names or {}).get(link, f'{link[0]}→{link[1]}')} ({what})" for link, what in told]
    return f"{len(told):,} of {links:,} links: {_first_few(shown)}"


def _first_few(shown: list[str]) -> str:
    more = f" … and {len(shown) - NAMED_LINKS:,} more" if len(shown) > NAMED_LINKS else ""
    return f"{', '.join(shown[:NAMED_LINKS])}{more}"


def _link_names(links: pd.DataFrame) -> dict[tuple[int, int], str]:
    if "name" not in links:
        return {}
    keys = links[list(schema.LINK_KEY)].itertuples(index=False)
    return {(int(node), int(peer)): name for (node, peer), name in zip(keys, links["name"], strict=True)}


def _unit_factors(before: Floats, after: Floats) -> Floats:
    """[stretches, links], the factor by which all quartiles [stretches, links, 3] jumped; NaN where none did."""
    found = np.full(before.shape[:2], np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        jumps = np.log(after / before)
    for factor, tolerance in UNIT_FACTORS.items():
        for sign in (1, -1):
            near = np.abs(jumps - sign * np.log(factor)) <= np.log(tolerance)
            found[near.all(axis=2)] = float(factor) ** sign
    return found
