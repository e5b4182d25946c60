"""A figure over versions, days or hours, as the geometry of a small line chart: what a template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bwpredict.core.formatting import number

WIDTH, HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 12, 12, 30
_TICKS = 4
"""Steps between horizontal lines, about."""
_COLUMNS = 5
"""Texts below the chart, at most."""


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
    columns: tuple[tuple[float, str, str], ...]
    """(x, text, anchor) below the chart, the first and the last column among them."""
    limits: tuple[tuple[float, str], ...] = ()
    """(y, text) of the dashed lines: thresholds."""
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


def line_chart(
    title: str,
    names: Sequence[str],
    values: Mapping[str, Sequence[float | None]],
    *,
    unit: str = "",
    axis: Sequence[str] | None = None,
    limits: Mapping[str, float | None] | None = None,
) -> Chart | None:
    """The chart of one value for each name and series, oldest first; None if no value is defined.

    Args:
        names: of the columns; a point's label says the name.
        axis: texts below the columns, such as their months; None: the names.
        limits: text → value of a dashed line; those that are None are left out.
    """
    lines = {text: value for text, value in (limits or {}).items() if value is not None}
    defined = [value for series in values.values() for value in series if value is not None and math.isfinite(value)]
    if not defined:
        return None
    ticks, decimals = _round_ticks(min([*defined, *lines.values()]), max([*defined, *lines.values()]))
    places = [_place(position, len(names)) for position in range(len(names))]

    def height(value: float) -> float:
        return round(_TOP + (HEIGHT - _TOP - _BOTTOM) * (ticks[-1] - value) / (ticks[-1] - ticks[0]), 1)

    def line(name: str, series: Sequence[float | None]) -> Series:
        points = [
            None
            if value is None or not math.isfinite(value)
            else Point(x, height(value), f"{name}, {of}: {number(value)} {unit}".rstrip())
            for x, of, value in zip(places, names, series, strict=True)
        ]
        return Series(name, _path(points), tuple(point for point in points if point))

    return Chart(
        title=title,
        series=tuple(line(name, series) for name, series in values.items()),
        ticks=tuple((height(value), f"{value:,.{decimals}f}") for value in ticks),
        columns=tuple(_columns(places, axis or names)),
        limits=tuple((height(value), text) for text, value in lines.items()),
    )


def _round_ticks(low: float, high: float) -> tuple[list[float], int]:
    """Multiples of 1, 2 or 5 times a power of ten that hold the values between them, and their decimals."""
    span = max(high - low, 0.02 * abs(high), 1e-6) if high or low else 1.0
    power = math.floor(math.log10(span / _TICKS))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * 10.0**power >= 0.99 * span / _TICKS)
    power, factor = (power + 1, 1) if factor == 10 else (power, factor)
    step = factor * 10.0**power
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * tick for tick in range(first, max(last, first + 1) + 1)], max(0, -power)


def _columns(places: Sequence[float], axis: Sequence[str]) -> Iterator[tuple[float, str, str]]:
    last = len(axis) - 1
    shown = sorted({round(last * part / (_COLUMNS - 1)) for part in range(_COLUMNS)})
    for place in shown:
        if place in (0, last) or axis[place] != axis[place - 1]:
            anchor = "middle" if last == 0 or place not in (0, last) else "start" if place == 0 else "end"
            yield places[place], axis[place], anchor


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
