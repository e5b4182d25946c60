"""Format figures and rows for sentences."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from bwpredict import schema
from bwpredict.core.formatting import number


def format_number(value: float) -> str:
    """A number for reading: 17,280 or 0.0123."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"


def unit_of(column: schema.Column) -> str:
    """ " ms": the suffix for a figure of this column; empty for shares, hours and days."""
    return "" if column.unit in ("", "share", "h", "d") else f" {column.unit}"


def format_timestamp(timestamp_s: float) -> str:
    """A unix second as 2026-10-01T04:05Z, with seconds if it has any; as a number if it is no time."""
    try:
        time = datetime.fromtimestamp(timestamp_s, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return format_number(timestamp_s)
    return time.strftime("%Y-%m-%dT%H:%MZ" if time.second == 0 else "%Y-%m-%dT%H:%M:%SZ")


def format_row(row: dict[str, Any], unit: str = "") -> str:
    """An unexpected row: "link 3→7 at 2026-10-01T04:05Z: -12 ms"; `unit` includes the leading blank."""
    where = f"link {row['node_id']}→{row['peer_id']} at {row['timestamp']}"
    value = row["value"]
    if value is None:
        return where
    return f"{where}: {number(value, 6) if isinstance(value, float) else value}{unit}"
