"""How names and numbers are written for people: one way in plots, tables, the model card and alerts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from bwpredict import schema

UNDEFINED = "n/a"


def display_name(target: str) -> str:
    """A column's label; for any other name, blanks for underscores."""
    label = schema.COLUMN[target].label if target in schema.COLUMN else ""
    return label or target.replace("_", " ")


def unit_of(column: str) -> str:
    """The unit of a telemetry column, or an empty text for a name that is none."""
    return schema.COLUMN[column].unit if column in schema.COLUMN else ""


def number(value: Any, digits: int = 4) -> str:
    """A number at `digits` significant digits; None is "n/a", and anything else stands as it is."""
    if value is None:
        return UNDEFINED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"
    return str(value)


def readable_unit(column: str) -> tuple[float, str]:
    """Factor and unit in which people read a column's figures: shares in percent, hours and weekdays without a unit."""
    unit = unit_of(column)
    return (100.0, "%") if unit == "share" else (1.0, "" if unit in ("h", "d") else unit)


def quantity(value: float | None, column: str, digits: int = 4) -> str:
    """A value of a telemetry column with its unit, as people write it: "12.3 ms", "0.02 %", "21.1 GB"."""
    if value is None:
        return UNDEFINED
    factor, unit = readable_unit(column)
    if unit == "B":
        power = next((power for power in (4, 3, 2, 1) if abs(value) >= 1000**power), 0)
        factor, unit, digits = 1000.0**-power, ("B", "kB", "MB", "GB", "TB")[power], min(digits, 3)
    return f"{number(float(value) * factor, digits)} {unit}".rstrip()


def count_of(how_many: int, noun: str) -> str:
    """A number and its noun: "1 version", "2 versions", "1,204 entries"."""
    if how_many == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{how_many:,} {plural}"


def link_name(link: Mapping[str, Any]) -> str:
    """The link of a document's `node_id` and `peer_id`: "1000 → 1234"."""
    return f"{link['node_id']} → {link['peer_id']}"


def duration(seconds: float) -> str:
    """A time span as people say it: "8.2 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def undefined_as_none(value: SupportsFloat) -> float | None:
    """A figure for a document: None where it is undefined."""
    return float(value) if math.isfinite(value) else None
