"""How names and numbers are written for people: one way in plots, tables, the model card and alerts."""

from __future__ import annotations

from typing import Any

from bwpredict import schema

UNDEFINED = "n/a"

_WORDS = {
    "throughput_mbps": "Throughput",
    "rtt_ms": "RTT",
    "packet_loss": "Packet loss",
    "jitter_ms": "Jitter",
}


def display_name(target: str) -> str:
    """A target's name in words; any other name with blanks for underscores."""
    return _WORDS.get(target, target.replace("_", " "))


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


def duration(seconds: float) -> str:
    """A time span as people say it: "8.2 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
