"""A figure over the versions, as the geometry of a small line chart: what a template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bwpredict.core.formatting import number

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 12, 12, 30
_TICKS = 4


@dataclass(frozen=True)
class Point:
    """One value, where it is drawn; `label` says whose it is and how much."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Series:
    """One line: `path` is the `d` of an SVG path, broken where a value is undefined."""

    name: str
    path: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """A whole chart, in a box of `WIDTH` by `HEIGHT`."""

    title: str
    series: tuple[Series, ...]
    ticks: tuple[tuple[float, str], ...]
    """(y, text) of the horizontal lines."""
    columns: tuple[tuple[float, str], ...]
    """(x, text) below the chart: the first and the last version."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


def line_chart(
    title: str, versions: Sequence[str], values: Mapping[str, Sequence[float | None]], *, unit: str = ""
) -> Chart | None:
    """The chart of one value for each version and series, oldest first; None if no value is defined."""
    defined = [value for series in values.values() for value in series if value is not None and math.isfinite(value)]
    if not defined:
        return None
    low, high = _range(defined)
    places = [_place(number_, len(versions)) for number_ in range(len(versions))]

    def height(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (high - value) / (high - low), 1)

    def line(name: str, series: Sequence[float | None]) -> Series:
        points = [
            None
            if value is None or not math.isfinite(value)
            else Point(x, height(value), f"{name}, {version}: {number(value)} {unit}".rstrip())
            for x, version, value in zip(places, versions, series, strict=True)
        ]
        return Series(name, _path(points), tuple(point for point in points if point))

    steps = [low + (high - low) * tick / _TICKS for tick in range(_TICKS + 1)]
    ends = [(places[0], versions[0])] + ([(places[-1], versions[-1])] if len(versions) > 1 else [])
    return Chart(
        title=title,
        series=tuple(line(name, series) for name, series in values.items()),
        ticks=tuple((height(value), f"{value:.3g}") for value in steps),
        columns=tuple(ends),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The axis: a little more than the values take."""
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or max(abs(high) * 0.05, 0.01)
    return low - room, high + room


def _place(position: int, count: int) -> float:
    span = WIDTH - _LEFT - _RIGHT
    return round(_LEFT + (span / 2 if count == 1 else span * position / (count - 1)), 1)


def _path(points: Sequence[Point | None]) -> str:
    pen, parts = "M", []
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{point.x} {point.y}")
        pen = "L"
    return " ".join(parts)
