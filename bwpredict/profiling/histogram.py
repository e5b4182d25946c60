"""Histograms on one fixed set of bins for every column and month, so that counts add up exactly.

A positive value x is in bin floor(BINS_PER_DECADE * log10 x); zero and negative values have bins of
their own below those. Only bins that hold something are kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS_PER_DECADE = 32
"""Bins 7 % wide: finer than any drift that matters, and few enough to store."""

MIN_BIN, MAX_BIN = -9 * BINS_PER_DECADE, 15 * BINS_PER_DECADE - 1
"""Smaller and larger values count in these bins."""
ZERO, NEGATIVE = MIN_BIN - 1, MIN_BIN - 2

BINNING = {
    "rule": "floor(bins_per_decade * log10 x)",
    "bins_per_decade": BINS_PER_DECADE,
    "least": MIN_BIN,
    "most": MAX_BIN,
    "zero": ZERO,
    "negative": NEGATIVE,
}
"""The rule, as every profile states it: profiles with another rule cannot be compared."""


_EDGES = np.concatenate(
    # Below zero, zero itself, then bins whose upper edge belongs to the next one; the outermost take all beyond them.
    [[-np.inf, 0, np.nextafter(0, 1)], 10 ** (np.arange(MIN_BIN + 1, MAX_BIN + 1) / BINS_PER_DECADE), [np.inf]]
)


_LOW_BITS = 46
"""The bits of a positive float64 above these number cells 1.6 % wide, in ascending order."""
_CELLS = 1 << (63 - _LOW_BITS)
_BIN_OF_CELL = np.searchsorted(_EDGES[:-1], (np.arange(_CELLS) << _LOW_BITS).view(np.float64), side="right") - 1
_DIVIDED = np.diff(_BIN_OF_CELL, append=-1) != 0
"""Cells that an edge divides: their values are compared with it."""
_BLOCK = 1 << 16
"""Values that are counted at a time, so that what is computed of them stays in the cache."""


def count_bins(values: npt.NDArray[np.float64]) -> dict[int, int]:
    """{bin: number of the finite values in it}."""
    counts = _counts_by_cell(values) if len(values) > _CELLS else np.histogram(values, _EDGES)[0]
    return {int(index) + NEGATIVE: int(counts[index]) for index in np.flatnonzero(counts)}


def _counts_by_cell(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """As `np.histogram`, which sorts all values, counts them."""
    of_cell, divided = np.zeros(_CELLS, dtype=np.int64), []
    for first in range(0, len(values), _BLOCK):
        block = values[first : first + _BLOCK]
        positive = block[block > 0]
        cells = positive.view(np.int64) >> _LOW_BITS
        of_cell += np.bincount(cells, minlength=_CELLS)
        divided.append(positive[_DIVIDED[cells]])
    counts = np.bincount(_BIN_OF_CELL, np.where(_DIVIDED, 0, of_cell), len(_EDGES) - 1).astype(np.int64)
    counts[:2] += [np.count_nonzero(values < 0), np.count_nonzero(values == 0)]
    counts += np.histogram(np.concatenate(divided), _EDGES)[0]
    return counts


def quantile(counts: dict[int, int], share: float) -> float:
    """The quantile at `share` (0 to 1), to the width of a bin."""
    bins = np.array(sorted(counts))
    cumulative = np.cumsum([counts[index] for index in bins])
    rank = share * cumulative[-1]
    at = min(int(np.searchsorted(cumulative, rank)), len(bins) - 1)
    if bins[at] <= ZERO:
        return 0.0 if bins[at] == ZERO else -np.inf
    inside = 1 - (cumulative[at] - rank) / counts[int(bins[at])]
    return float(10 ** ((bins[at] + inside) / BINS_PER_DECADE))
