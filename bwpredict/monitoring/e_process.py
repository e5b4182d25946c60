"""Sequential tests by betting: evidence that grows while something is wrong, with a stated rate of false alarms.

Each day gives one number z ("shortfall"): 0 at the tolerated limit, negative when all is well. The claim
under test is "the mean of z, given all days before, is at most 0". Against it we bet a share `lam` of our wealth each
day: the wealth is multiplied by 1 + lam z, which under the claim cannot be expected to grow, whatever the distribution
of z, as long as z >= -1 and lam < 1. The claim is about each day given all days before. Where only the long-run mean
of z is at most 0 and bad days come in spells, the claim does not hold, and neither do the bounds below. Nor do they
where days below LEAST are frequent: z is cut off there, which raises its mean.

- `update_evidence` asks since which day something is wrong. It is the Shiryaev-Roberts e-detector of Shin, Ramdas and
  Rinaldo, "E-detectors: a nonparametric framework for sequential change detection" (New England Journal of Statistics
  in Data Science, 2023): each day one more bettor starts with wealth 1, and the evidence is the sum over all of them.
  With an alarm at `threshold`, the mean number of days to a false alarm is at least `threshold`, and the chance of one
  within D days is at most D / threshold (the evidence less the number of days is a supermartingale).
- `update_wealth` is the wealth of one bettor. By Ville's inequality it ever reaches 1 / alpha with a chance of at most
  alpha.

Three shares are played side by side and averaged, so that neither small nor large changes are missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SHARES = (0.3, 0.6, 0.9)
LEAST, MOST = -1.0, 3.0
"""z is clipped to these bounds: one day alone, however bad, raises no alarm."""
MEMORY = 2.0
"""The evidence is held below this many times the threshold, so that it fades within days of a recovery."""
INITIAL_EVIDENCE = (0.0,) * len(SHARES)
INITIAL_WEALTH = (1.0,) * len(SHARES)

Evidence = Sequence[float]
"""One number for each of `SHARES`."""


def clip_score(z: float) -> float:
    """The day's number within its bounds."""
    return min(max(z, LEAST), MOST)


def update_evidence(before: Evidence, z: float | None, threshold: float) -> tuple[float, ...]:
    """The detector's evidence after another day; `z` None or not finite: a day that says nothing."""
    if z is None or not math.isfinite(z):
        return tuple(before)
    return tuple(
        min((one + 1) * (1 + lam * clip_score(z)), MEMORY * threshold) for one, lam in zip(before, SHARES, strict=True)
    )


def update_wealth(before: Evidence, z: float | None) -> tuple[float, ...]:
    """The wealth after another day; `z` as in `update_evidence`."""
    if z is None or not math.isfinite(z):
        return tuple(before)
    return tuple(min(one * (1 + lam * clip_score(z)), 1e12) for one, lam in zip(before, SHARES, strict=True))


def mean_evidence(evidence: Evidence) -> float:
    """The evidence in one number, to hold against a threshold."""
    return sum(evidence) / len(evidence)
