"""Alerts 15 minutes ahead from the forecasts, from `predict_linear` and from a plain threshold, all tuned the same way.

A model trained on the first part of the telemetry replays the last days. The limit of a link is the value that 5 % of
its earlier five-minute means are beyond. For each rule, the days before the test days choose its variant and how long
the condition must hold; the test days then measure it over all thresholds:

    make bench-alerts ARGS="--recordings path/to/recordings"
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from accuracy import product
from accuracy.data import REGIMES, Dataset, Shape, datasets, recording_name, recordings
from accuracy.task import Budget, Task
from alerts.incidents import Outcome, false_alarms_at, frontier, held, outcome
from alerts.rules import LINEAR, OURS, PLAIN, Floats, Watched, probability, scores, sweep
from common import machine, show, write
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bwpredict import schema
from bwpredict.core.formatting import display_name
from bwpredict.datasets.windows import WindowIndex
from bwpredict.inference.stream_model import StreamModel, forecast_stream, open_stream
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.reports.plots import BLUE, GREY, VERMILION
from bwpredict.store.files import atomic_path
from bwpredict.training import intervals
from bwpredict.training.trainer import train

REPOSITORY = Path(__file__).resolve().parents[1]
WATCHED = {"rtt_ms": True, "throughput_mbps": False}
"""Target → whether its limit is an upper one."""
BEYOND_SHARE = 0.05
"""Of a link's earlier days, beyond its limit."""
HOLD_MINUTES = (1, 3, 5)
RECALL = 0.5
"""At which false alarms are compared."""
THRESHOLDS = 80
TUNING, TEST = ("validation", "calibration"), ("test",)
COLORS = {OURS: BLUE, LINEAR: VERMILION, PLAIN: GREY}


@dataclass(frozen=True)
class Curve:
    """A rule on the test days: tuned, and swept over its thresholds."""

    rule: str
    variant: str
    hold_minutes: int
    points: list[Outcome]


def main() -> None:
    """Measure each data set; print a row for each target and rule, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regimes", nargs="*", choices=REGIMES, default=["calm", "congested"])
    parser.add_argument("--recordings", type=Path, help="folder with real telemetry; every file in it is measured")
    parser.add_argument("--links", type=int, default=Shape.links)
    parser.add_argument("--days", type=int, default=Shape.days)
    parser.add_argument("--epochs", type=int, default=Budget.epochs)
    parser.add_argument("--windows", type=int, default=Budget.windows, help="training windows for each epoch")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "benchmarks" / "results" / "alerts.json")
    parser.add_argument("--picture", type=Path, default=REPOSITORY / "docs" / "images" / "alerts.png")
    arguments = parser.parse_args()
    folder = arguments.recordings
    names = [*arguments.regimes, *(recording_name(path) for path in (recordings(folder) if folder else []))]
    shape = Shape(links=arguments.links, days=arguments.days)
    panels: dict[tuple[str, str], list[Curve]] = {}
    for dataset in datasets(names, folder, shape):
        budget = Budget(windows=arguments.windows, epochs=arguments.epochs)
        for target, curves in measure(dataset, budget):
            panels[dataset.name, target] = curves
            print(json.dumps(rows_of(dataset.name, target, curves)), flush=True)
    rows = [row for (name, target), curves in panels.items() for row in rows_of(name, target, curves)]
    show(f"at a recall of {RECALL:.0%}, on the test days", rows)
    write(arguments.output, {"benchmark": "alerts", "machine": machine(), "rows": rows})
    draw(arguments.picture, panels)


def measure(dataset: Dataset, budget: Budget) -> Iterator[tuple[str, list[Curve]]]:
    """Train on the data set, and replay its days before the test days and the test days."""
    split = dataset.split
    parts = {name: split[name] for name in (*TUNING, *TEST)}
    model = trained(Task(split, budget, 0))
    forecasts = {name: forecast_stream(model, part) for name, part in parts.items()}
    frame = split["train"].frame
    for target, above in WATCHED.items():
        if target in (frame.filled or {}):
            continue
        watched = watch(split["train"], target, above=above)
        chance = np.full(watched.values.shape, np.nan)
        for name, part in parts.items():
            links, steps = places(part)
            median, bounds = forecasts[name].output, forecasts[name].bounds
            chance[links, steps] = probability(median, bounds, watched.limits[links, 0], target, above=above)
        spans = [days_of(parts, names, chance.shape) for names in (TUNING, TEST)]
        yield target, curves_of(watched, chance, *spans)


def trained(task: Task) -> StreamModel:
    """The product, as a run trains it and calibrates its intervals."""
    with tempfile.TemporaryDirectory() as folder:
        config = product.training_config(task, {})
        model = train(task.split, config, Path(folder, "best.pth"), absent=task.absent).model
        intervals.calibrate(model, task.split, absent=task.absent)
        properties = model_properties(model, version="benchmark", snapshot_id="none")
        stream = Path(folder, "stream.onnx")
        export_onnx(model, Path(folder, "windows.onnx"), properties, stream=stream)
        return open_stream(stream.read_bytes(), threads=1)


def watch(past: WindowIndex, target: str, *, above: bool) -> Watched:
    """The target on a grid of time, and each link's limit from the training days."""
    frame = past.frame
    step = (frame.timestamps - frame.timestamps.min()) // frame.cadence_seconds
    values = np.full((len(frame.links), int(step.max()) + 1), np.nan)
    values[frame.link, step] = frame.values[:, schema.TARGET_FEATURES][:, schema.TARGETS.index(target)]
    without_limits = Watched(
        target, above, values, np.zeros((len(values), 1)), frame.cadence_seconds / 60, past.horizon_steps
    )
    end = int(places(past)[1].max()) + 1
    level = 1 - BEYOND_SHARE if above else BEYOND_SHARE
    limits = np.nanquantile(without_limits.recent[:, :end], level, axis=1, keepdims=True)
    return Watched(target, above, values, limits, without_limits.step_minutes, past.horizon_steps)


def places(part: WindowIndex) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Link and step of each window's last sample."""
    frame, last = part.frame, part.starts + part.window_size - 1
    step = (frame.timestamps[last] - frame.timestamps.min()) // frame.cadence_seconds
    return np.asarray(frame.link[last], np.int64), np.asarray(step, np.int64)


def days_of(parts: dict[str, WindowIndex], names: Sequence[str], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """[links, steps], from the first to the last window of these parts."""
    inside = np.zeros(shape, bool)
    steps = np.concatenate([places(parts[name])[1] for name in names])
    inside[:, steps.min() : steps.max() + 1] = True
    return inside


def curves_of(
    watched: Watched, chance: Floats, tuning: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]
) -> list[Curve]:
    """Each rule in the form that has the fewest false alarms on the tuning days, on the test days."""
    curves = []
    for rule, variants in scores(watched, chance).items():
        forms = {
            (variant, hold): swept(watched, score, hold, tuning)
            for variant, score in variants.items()
            for hold in HOLD_MINUTES
        }
        variant, hold = min(forms, key=lambda form: false_alarms_at(RECALL, forms[form]))
        curves.append(Curve(rule, variant, hold, swept(watched, variants[variant], hold, test)))
    return curves


def swept(watched: Watched, score: Floats, hold_minutes: int, days: npt.NDArray[np.bool_]) -> list[Outcome]:
    """The outcome for each threshold."""
    columns = days.any(axis=0)
    chosen, beyond = score[:, columns], watched.beyond[:, columns]
    steps = max(1, round(hold_minutes / watched.step_minutes))
    known = int(np.isfinite(watched.values[:, columns]).sum())
    return [
        outcome(held(chosen > threshold, steps), beyond, step_minutes=watched.step_minutes, samples=known)
        for threshold in sweep(chosen, THRESHOLDS)
    ]


def rows_of(name: str, target: str, curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """A row for each rule, at the point of its curve with the fewest false alarms at `RECALL`."""
    rows = []
    for curve in curves:
        reached = [point for point in curve.points if point.recall >= RECALL]
        best = min(reached, key=lambda point: point.false_a_day, default=None)
        rows.append(
            {
                "data": name,
                "target": target,
                "rule": curve.rule,
                "variant": curve.variant,
                "hold min": curve.hold_minutes,
                "incidents": curve.points[0].incidents,
                "highest recall": max(point.recall for point in curve.points),
                "false alarms a day, 100 links": best and best.false_a_day,
                "precision": best and best.precision,
                "lead min": best and best.lead_minutes,
            }
        )
    return rows


def draw(path: Path, panels: dict[tuple[str, str], list[Curve]]) -> Path:
    """Write the PNG: a panel for each data set and target."""
    figure = Figure(figsize=(4.2 * len(panels), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, ((name, target), curves) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for curve in curves:
            label = f"{curve.rule} ({curve.variant})" if curve.variant else curve.rule
            axes.step(
                *zip(*frontier(curve.points), strict=True),
                where="pre",
                color=COLORS[curve.rule],
                label=label,
                linewidth=1.8,
            )
        axes.set_title(f"{name}: {display_name(target)}", fontsize=10, fontweight="bold", loc="left")
        axes.set(xlabel="recall", xlim=(0, 1), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    figure.axes[0].set_ylabel("false alarms a day, 100 links")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})
    return path


if __name__ == "__main__":
    main()
