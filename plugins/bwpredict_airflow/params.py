"""Params that more than one DAG asks for."""

from __future__ import annotations

from airflow.sdk import Param

from bwpredict.config import TrainingConfig

MONTH = Param(
    None,
    type=["null", "string"],
    pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
    title="Month",
    description="Month of telemetry to train on, as YYYY-MM (UTC). Empty: the last one that is over.",
    section="Telemetry",
)
HISTORY_MONTHS = Param(
    1,
    type="integer",
    minimum=1,
    maximum=36,
    title="Months of history",
    description="How many months to read, ending with that month.",
    section="Telemetry",
)
PUBLISH_PAST_MONTHS = Param(
    default=False,
    type="boolean",
    title="Publish past months",
    description="Move production also where it would go to an earlier month, and also in a back-fill. Without it a "
    "back-fill tells what each month would have given (judged against the champion of its time) and publishes nothing.",
    section="Back-fill",
)


def training_param(name: str, *, title: str, description: str, section: str = "Training") -> Param:
    """A param with the type, default and bounds of that field of `TrainingConfig`."""
    field = dict(TrainingConfig.model_json_schema()["properties"][name])
    if field["type"] == "integer" and "exclusiveMaximum" in field:
        field["maximum"] = field.pop("exclusiveMaximum") - 1
    field |= {"title": title, "description": description}
    return Param(field.pop("default"), **field, section=section)
