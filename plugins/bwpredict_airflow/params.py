"""Params that more than one DAG asks for.

Every type allows null, since Airflow's form marks any other field as required; null means the default.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from airflow.sdk import Param

from bwpredict.config import TrainingConfig
from bwpredict.telemetry.months import months_in_folder

LAST_MONTH = "The last complete month"
_SUGGESTED_MONTHS = 12


def optional(kind: str, title: str, description: str, *, default: Any = None, **schema: Any) -> Param:
    """A param of this JSON type that may be left empty; `schema` are further keys of its JSON Schema."""
    return Param(default, type=["null", kind], title=title, description=description, **schema)


text = partial(optional, "string")
flag = partial(optional, "boolean", default=False)

MONTH = text(
    "Month",
    "Month of telemetry to train on, as YYYY-MM (UTC), such as 2026-10. Empty: the last complete month.",
    pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
)
HISTORY_MONTHS = optional(
    "integer",
    "Months of history",
    "Number of months to read, ending with that month.",
    default=1,
    minimum=1,
    maximum=36,
    section="Advanced: training",
)
PUBLISH_PAST_MONTHS = flag(
    "Publish past months",
    "Publish even in a back-fill, and even if production would go to an earlier month. If off, a back-fill compares "
    "each month with the champion of its time and publishes nothing.",
    section="Advanced: back-fill",
)


def month_param(telemetry: str) -> Param:
    """The param of the month: a list of those that are there, or free text where that takes more than a look."""
    months = months_in_folder(telemetry)
    if not months:
        suggested = _latest_months(datetime.now(UTC))
        return Param(None, description=MONTH.description, **MONTH.schema, examples=suggested)
    choice = {"enum": [None, *months], "values_display": {"null": LAST_MONTH} | {month: month for month in months}}
    return Param(None, **MONTH.schema | choice, description="Month of telemetry to train on (UTC).")


def training_param(name: str, title: str, description: str, *, section: str = "Advanced: training") -> Param:
    """A param with the type, default and bounds of that field of `TrainingConfig`."""
    field = dict(TrainingConfig.model_json_schema()["properties"][name])
    if field["type"] == "integer" and "exclusiveMaximum" in field:
        field["maximum"] = field.pop("exclusiveMaximum") - 1
    field |= {"title": title, "description": description, "type": ["null", field["type"]]}
    return Param(field.pop("default"), **field, section=section)


def _latest_months(now: datetime) -> list[str]:
    """The calendar months before this one, the latest first."""
    last = now.year * 12 + now.month - 2
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(last, last - _SUGGESTED_MONTHS, -1)]
