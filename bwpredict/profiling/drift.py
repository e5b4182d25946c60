"""How far a month has moved from the champion's training data: two named statistics and their limits.

Both compare shares, never counts of rows, so they do not depend on the sample size. Drift never stops a run: it is a
reason to retrain, and the champion that it is measured against could otherwise never be replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon

from bwpredict import schema
from bwpredict.profiling import histogram
from bwpredict.profiling.profile import CATEGORICAL, NUMERIC

MIN_SHARE = 1e-4
"""Stands for the share of an empty group in the PSI, which would be infinite otherwise."""
GROUPS = 10
DRAWN_BINS = 24
"""Of a histogram for people, at most."""


@dataclass(frozen=True)
class Limit:
    """Above `moved` a distribution has moved, above `drifted` (None: never) it is another one."""

    moved: float
    drifted: float | None
    reason: str


_PSI_LIMIT = Limit(0.1, 0.25, "the usual reading of the PSI: to 0.1 stable, above 0.25 another population")
_JS_LIMIT = Limit(0.1, 0.3, "0.1 is about a tenth of the rows in another category, 0.3 about a third")
_CALENDAR_LIMIT = Limit(0.15, None, "says only which hours and days are covered; whether they are right is checked")

LIMITS: dict[str, Limit] = {
    **dict.fromkeys(NUMERIC, _PSI_LIMIT),
    **dict.fromkeys(CATEGORICAL, _JS_LIMIT),
    **dict.fromkeys(schema.CALENDAR_FEATURES, _CALENDAR_LIMIT),
}
"""By column: of the PSI for numeric columns, of the Jensen–Shannon distance for categorical ones."""


MIN_DAYS = 7
SHORT_SPAN_FACTOR = 3
"""In less than a week one span has the weekend and the other has not, so only a larger distance counts as drift."""


def limit_of(column: str, days: int) -> Limit:
    """The column's limit, where the shorter of the two spans holds this many days."""
    limit = LIMITS[column]
    if days >= MIN_DAYS:
        return limit
    reason = f"{SHORT_SPAN_FACTOR} times the usual, since less than a week is compared"
    drifted = None if limit.drifted is None else round(limit.drifted * SHORT_SPAN_FACTOR, 3)
    return Limit(round(limit.moved * SHORT_SPAN_FACTOR, 3), drifted, reason)


def statistic_of(column: str) -> str:
    """Name of the statistic that measures the drift of this column."""
    return "PSI" if column in NUMERIC else "Jensen–Shannon distance"


def figure_name(column: str) -> str:
    """The statistic and the column in one name, such as `psi_rtt_ms`."""
    return f"psi_{column}" if column in NUMERIC else f"jensen_shannon_{column}"


def drift_of(column: str, profile: dict[str, Any], reference: dict[str, Any]) -> float | None:
    """The column's statistic, between two profiles; None where either has no values of it."""
    kind = "numeric" if column in NUMERIC else "categorical"
    new, old = profile[kind].get(column), reference[kind].get(column)
    if not new or not old or not new["count"] or not old["count"]:
        return None
    if kind == "numeric":
        return psi(dict(new["histogram"]), dict(old["histogram"]))
    return jensen_shannon(new["values"], old["values"])


def psi(counts: dict[int, int], reference: dict[int, int]) -> float:
    """Population stability index of two histograms on the same bins, over the reference's deciles.

    Sum of (p - q) ln(p / q) over groups of bins that each hold a tenth of the reference, or more where
    one bin holds more. 0 = same. Siddiqi, Credit Risk Scorecards (2006), ch. 8.
    """
    bins = np.array(sorted(reference))
    cumulative = np.cumsum(_shares([reference[index] for index in bins]))
    # A little below each tenth, so that rounding does not move a cut to the next bin.
    tenths = np.arange(1, GROUPS) / GROUPS - 1e-9
    cuts = np.unique(bins[np.searchsorted(cumulative, tenths)])
    p, q = (np.maximum(_grouped(side, cuts), MIN_SHARE) for side in (counts, reference))
    return float(((p - q) * np.log(p / q)).sum())


def jensen_shannon(counts: dict[str, int], reference: dict[str, int]) -> float:
    """Jensen–Shannon distance to base 2: 0 = same shares of each category, 1 = none in common (Lin 1991)."""
    names = sorted(counts.keys() | reference.keys())
    p, q = (_shares([side.get(name, 0) for name in names]) for side in (counts, reference))
    # Rounding can bring the divergence of equal shares a little below 0, whose root is NaN.
    return float(np.nan_to_num(jensenshannon(p, q, base=2)))


def distributions(
    columns: Iterable[str], profile: Mapping[str, Any], reference: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Of each column the shares of its values in bins, in a profile and in the reference, to draw beside each other.

    Numbers are in bins of equal width on a logarithmic axis; values of zero or less share one more bin.
    Columns that either profile lacks are left out.
    """
    for column in columns:
        kind = "numeric" if column in NUMERIC else "categorical"
        sides = [side[kind].get(column) for side in (profile, reference)]
        if not all(side and side["count"] for side in sides):
            continue
        if kind == "numeric":
            labels, counts = _coarse_bins([dict(side["histogram"]) for side in sides])
        else:
            labels = sorted({name for side in sides for name in side["values"]})
            counts = [[side["values"].get(name, 0) for name in labels] for side in sides]
        now, then = ((_shares(one) if sum(one) else np.zeros(len(one))).round(5).tolist() for one in counts)
        yield {"column": column, "bins": labels, "now": now, "then": then}


def _coarse_bins(sides: list[dict[int, int]]) -> tuple[list[list[float]], list[list[int]]]:
    """The edges (from, to) of at most `DRAWN_BINS` bins, and the counts of both sides in them."""
    merged = Counter(sides[0]) + Counter(sides[1])
    positive = sorted(index for index in merged if index > histogram.ZERO)
    first, last = (positive[0], positive[-1]) if positive else (0, 0)
    width = -(-(last - first + 1) // DRAWN_BINS)
    starts = range(first, last + 1, width) if positive else range(0)
    edges = [
        [float(f"{10 ** (index / histogram.BINS_PER_DECADE):.3g}") for index in (start, start + width)]
        for start in starts
    ]
    counts = [[sum(side.get(start + at, 0) for at in range(width)) for start in starts] for side in sides]
    low = [sum(count for index, count in side.items() if index <= histogram.ZERO) for side in sides]
    if any(low):
        edges, counts = [[0.0, 0.0], *edges], [[one, *rest] for one, rest in zip(low, counts, strict=True)]
    return edges, counts


def _grouped(counts: dict[int, int], cuts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of each group of bins: group i ends with bin cuts[i], the last holds the rest."""
    groups = np.searchsorted(cuts, list(counts))
    return _shares(np.bincount(groups, list(counts.values()), len(cuts) + 1))


def _shares(counts: Any) -> npt.NDArray[np.float64]:
    counts = np.asarray(counts, dtype=np.float64)
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares
