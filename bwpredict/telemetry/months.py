"""Calendar months in UTC, as windows of time."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bwpredict.errors import ConfigError

EARLIEST_YEAR, LATEST_YEAR = 1971, 2999


def month_window(month: str, history_months: int = 1) -> tuple[datetime, datetime]:
    """[start, end) in UTC of `history_months` months, of which `month` ("YYYY-MM") is the last.

    Raises:
        ConfigError: `month` is no calendar month, or `history_months` is less than 1 or reaches too far back.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise ConfigError(f"month={month!r}: not a month; expected YYYY-MM, for example 2026-10.")
    if history_months < 1:
        raise ConfigError(f"history_months={history_months}: expected 1 (that month alone) or more.")
    past_the_last = int(month[:4]) * 12 + int(month[5:])
    first = past_the_last - history_months
    if not EARLIEST_YEAR * 12 <= first < past_the_last <= LATEST_YEAR * 12:
        raise ConfigError(
            f"month={month!r} with history_months={history_months}: is outside the years"
            f" {EARLIEST_YEAR} to {LATEST_YEAR}."
        )
    return _first_day(first), _first_day(past_the_last)


def month_of(instant: datetime) -> str:
    """The month ("YYYY-MM") that holds this UTC instant."""
    return f"{instant:%Y-%m}"


def months_in_folder(telemetry: str) -> list[str]:
    """The months that a folder of telemetry has partitions of (`date=YYYY-MM-DD`), the latest first; opens no file.

    Empty where there are none, where the folder cannot be read, and for any other store: that would take a request.
    """
    if "://" in telemetry:
        return []
    with suppress(OSError):
        found = (re.fullmatch(r"date=(\d{4}-(?:0[1-9]|1[0-2]))-\d\d", path.name) for path in Path(telemetry).iterdir())
        return sorted({match[1] for match in found if match}, reverse=True)
    return []


def _first_day(months_since_year_0: int) -> datetime:
    return datetime(months_since_year_0 // 12, months_since_year_0 % 12 + 1, 1, tzinfo=UTC)
