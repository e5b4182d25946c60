"""What a consumer would have set on one link with a version's forecasts, by the rules of the version's comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.core.consumer_rules import ConsumerRules
from bwpredict.core.formatting import count_of, display_name, number
from bwpredict.inference.confidence import overall_confidence
from bwpredict.inference.onnx_model import Bounds
from bwpredict.reports.svg_chart import Chart, line_chart

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]

PERFECT, MODEL, CHAMPION = "Perfect knowledge", "This model", "Champion at the time"
_SHOWN_POINTS = 96
"""Of the charts: the last ones, which are a day where the series has a point for each 15 minutes."""


@dataclass(frozen=True)
class ConsumerView:
    """The sentence above, a chart for each setting, and rows of setting, model, mean setting and regret."""

    sentence: str
    charts: list[Chart]
    rows: list[tuple[str, ...]]


def consumer_view(
    rules: ConsumerRules,
    timestamps: npt.NDArray[np.int64],
    values: Mapping[str, Columns],
    bounds: Bounds,
) -> ConsumerView:
    """What the rules make of one link's points.

    Args:
        rules: of the version's comparison.
        timestamps: [n], unix seconds, UTC.
        values: `PERFECT` (the actual values), `MODEL` and, if there was one, `CHAMPION` → each target → [n], raw units.
        bounds: of the model's forecasts, [n, 4].
    """
    output = np.stack([values[MODEL][name] for name in schema.TARGETS], axis=-1)
    acts = overall_confidence(output, bounds.lower, bounds.upper) >= rules.minimum_confidence
    names = [f"{datetime.fromtimestamp(at, UTC):%m-%d %H:%M}" for at in timestamps[-_SHOWN_POINTS:]]
    charts, rows = [], []
    for name, setting in rules.settings.items():
        made = {who: setting.of(columns) for who, columns in values.items()}
        drawn = {who: column[-_SHOWN_POINTS:].tolist() for who, column in made.items()}
        title = display_name(name).capitalize() + (f", {setting.unit}" if setting.unit not in ("", name) else "")
        charts.append(line_chart(title, names, drawn))
        rows += [_row(title, who, column, made[PERFECT], acts, rules) for who, column in made.items()]
    return ConsumerView(
        f"A consumer with the rules {rules.name} (version {rules.version}) acts if the confidence is at least"
        f" {rules.minimum_confidence:g}: at {number(int(acts.sum()))} of {count_of(len(acts), 'point')} here. The"
        " regret is the extra cost of the setting over the one chosen with perfect knowledge, at those points.",
        [chart for chart in charts if chart],
        rows,
    )


def _row(
    title: str,
    who: str,
    made: Floats,
    ideal: Floats,
    acts: npt.NDArray[np.bool_],
    rules: ConsumerRules,
) -> tuple[str, ...]:
    """Title, model, mean setting and regret; over the points where the consumer acts."""
    if not acts.any():
        return title, who, number(None), number(None)
    cost = rules.cost((made - ideal)[acts]).mean()
    return title, who, number(float(made[acts].mean()), 3), f"{number(100 * float(cost / ideal[acts].mean()), 3)} %"


def rules_of(comparison: Mapping[str, Any]) -> ConsumerRules | None:
    """The rules that a version's comparison replayed; None: it replayed none."""
    consumer = comparison.get("consumer")
    return ConsumerRules.model_validate(consumer["rules"]) if consumer else None
