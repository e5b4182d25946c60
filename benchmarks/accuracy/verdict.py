"""Who is first: pure functions on intervals of a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bwpredict.evaluation.bootstrap import Interval

Place = Literal["first", "tied", "beaten", "undefined"]


@dataclass(frozen=True)
class Verdict:
    """Our place on one target of one data set."""

    place: Place
    rival: str | None = None
    """The rival that the place refers to: the best one, of those that beat us if there are any."""
    difference: Interval | None = None
    """Our error less the rival's."""


def judge(differences: Mapping[str, Interval], *, rounding: float = 0.0) -> Verdict:
    """Our place among rivals, from the paired differences of errors (ours less theirs).

    "beaten" when a rival's interval is above `rounding` as a whole, "first" when all are below minus `rounding`, else
    "tied". `rounding` is a difference that equal forecasts may have.
    A difference that is not finite, or no rival at all, makes it "undefined": never a win.
    """
    if not differences or not all(difference.finite for difference in differences.values()):
        return Verdict("undefined")
    beat_us = {name: each for name, each in differences.items() if each.low > rounding}
    tie_us = {name: each for name, each in differences.items() if each.low <= rounding and each.high >= -rounding}
    place: Place = "beaten" if beat_us else "tied" if tie_us else "first"
    rivals = beat_us or tie_us or differences
    rival = max(rivals, key=lambda name: rivals[name].estimate)
    return Verdict(place, rival, rivals[rival])
