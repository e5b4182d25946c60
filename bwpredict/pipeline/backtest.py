"""Was retraining worth it? A frozen model against one that is retrained each month, over the last months.

Rolling origin: each month is forecast by a model that was trained on the month before it, and by the model of the
first origin. Both see nothing of the month that they forecast. Tashman, Out-of-sample tests of forecasting accuracy,
International Journal of Forecasting 16 (2000).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bwpredict import schema
from bwpredict.config import RunConfig
from bwpredict.core.formatting import display_name, number
from bwpredict.core.progress_bar import track
from bwpredict.datasets.frame import TelemetryFrame, load_frame
from bwpredict.datasets.windows import index_windows
from bwpredict.documents import write_document
from bwpredict.errors import ConfigError
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import JUDGED, Forecasts, collect
from bwpredict.evaluation.paired_difference import differences
from bwpredict.inference.onnx_model import forecast
from bwpredict.pipeline import challenger
from bwpredict.registry.layout import onnx_name
from bwpredict.reports.forecast_plots import skill_by_month
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of
from bwpredict.telemetry import snapshot
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.months import month_window

logger = logging.getLogger(__name__)

Document = dict[str, Any]

DOCUMENT, PLOT = "backtest.json", "backtest.png"
MIN_MONTHS = 2


@dataclass(frozen=True)
class Trained:
    """A model, and the month that it was trained on."""

    month: str
    onnx: Path


def version_of(month: str) -> str:
    """The version of the model that is trained on this month."""
    return f"v{month.replace('-', '')}01_000000"


def backtest(run: RunConfig, months: int, folder: Path) -> Document:
    """Train and score; writes `backtest.json`, `backtest.png`, and each month's model into a separate folder.

    Args:
        run: telemetry, training and split; its month is the last that is forecast. One month is read for each
            training, whatever `history_months` says.
        months: how many are forecast, the last one included; the one before the first is only trained on.
        folder: of everything that is written.

    Raises:
        ConfigError: fewer than two months.
        TelemetryError: a month's telemetry is missing, or too little.
    """
    if months < MIN_MONTHS:
        raise ConfigError(f"months={months}: in the first month both models are the same; expected 2 or more.")
    names = [str(month) for month in pd.period_range(end=run.month, periods=months + 1, freq="M")]
    frames = {name: _snapshot(run, name, folder) for name in names}
    trained = track(names[:-1], "Training", "months", len(names) - 1)
    models = [_train(run, name, frames[name], folder) for name in trained]
    rows, scored = [], []
    pairs = zip(models, names[1:], strict=True)
    for retrained, name in track(pairs, "Scoring", "months", len(models)):
        index = index_windows(frames[name], run.training.window_size, run.training.horizon_minutes)
        index = index.spread(run.maximum_test_windows)
        of_both = {"challenger": forecast(retrained.onnx, index), "champion": forecast(models[0].onnx, index)}
        forecasts = collect(index, of_both)
        comparison = compare(
            forecasts,
            challenger_version=version_of(retrained.month),
            challenger_sha256=sha256_of(retrained.onnx),
            champion_version=version_of(models[0].month),
            champion_sha256=sha256_of(models[0].onnx),
        )
        rows.append(_row(name, retrained, comparison))
        scored += [] if retrained is models[0] else [forecasts]
        logger.info("%s: forecast by the models of %s and %s", name, models[0].month, retrained.month)
    document = _document(run, models[0], rows, differences(_together(scored)))
    write_document(folder / DOCUMENT, "backtest", document)
    skill_by_month(folder / PLOT, document)
    return document


def _snapshot(run: RunConfig, month: str, folder: Path) -> TelemetryFrame:
    area = folder / month
    area.mkdir(parents=True, exist_ok=True)
    pinned = snapshot.take_snapshot(open_store(run.telemetry), "", *month_window(month), area)
    return load_frame(area / "telemetry", description=Description.of_snapshot(pinned))


def _train(run: RunConfig, month: str, frame: TelemetryFrame, folder: Path) -> Trained:
    """The model that a run for this month would have made."""
    area = folder / month
    own = run.model_copy(update={"month": month, "version": version_of(month)})
    logger.info("-- training on %s", month)
    split = challenger.make_split(frame, own)
    challenger.fit(area, split, own)
    challenger.export_onnx(area, split, own, snapshot_id=month)
    return Trained(month, area / onnx_name(own.version))


def _row(month: str, retrained: Trained, comparison: Document) -> Document:
    models, apart = comparison["models"], comparison["difference"]["per_target"]
    keys = ("percent", "low", "high")
    return {
        "month": month,
        "trained_on": retrained.month,
        "windows": comparison["test"]["windows"],
        "per_target": {
            target: {
                **{
                    f"{name}_{key}": models[model]["per_target"][target][key]
                    for name, model in (("retrained", "challenger"), ("frozen", "champion"))
                    for key in ("mae", "skill")
                },
                **{key: apart[target][key] for key in keys},
            }
            for target in comparison["targets"]
        },
    }


def _together(scored: list[Forecasts]) -> Forecasts:
    """The forecasts of several months, links numbered alike; models and what the differences need, nothing else."""
    keys = list(schema.LINK_KEY)
    links = pd.concat([one.links[keys] for one in scored]).drop_duplicates(ignore_index=True)
    everywhere = pd.MultiIndex.from_frame(links)
    numbers = [everywhere.get_indexer(pd.MultiIndex.from_frame(one.links[keys]))[one.link] for one in scored]
    targets = tuple(name for name in scored[0].targets if all(name in one.targets for one in scored))
    places = [[one.targets.index(name) for name in targets] for one in scored]
    pairs = list(zip(scored, places, strict=True))
    return Forecasts(
        targets=targets,
        actual=np.concatenate([one.actual[:, place] for one, place in pairs]),
        models={name: np.concatenate([one.models[name][:, place] for one, place in pairs]) for name in JUDGED},
        link=np.concatenate(numbers),
        timestamps=np.concatenate([one.timestamps for one in scored]),
        links=links,
    )


def _document(run: RunConfig, frozen: Trained, rows: list[Document], overall: Document) -> Document:
    known = {name: figures for name, figures in overall["per_target"].items() if figures is not None}
    return {
        "telemetry": run.telemetry,
        "frozen_month": frozen.month,
        "months": rows,
        "overall": {name: {**figures, "conclusion": _conclusion(name, figures)} for name, figures in known.items()},
        "seed": run.training.seed,
        "code_version": run.code_version,
        "created_at": run.created_at,
    }


def _conclusion(target: str, figures: Document) -> str:
    """Whether retraining was worth it on one target, in a sentence."""
    percent, low, high = (figures[key] for key in ("percent", "low", "high"))
    if low is None or high is None:
        return f"{display_name(target)}: the difference could not be computed."
    interval = f"{number(abs(percent), 2)} % (interval of the change: {number(low, 2)} to {number(high, 2)} %)"
    if high < 0:
        return f"{display_name(target)}: retraining was worth it; it lowered the MAE by {interval}."
    if low > 0:
        return f"{display_name(target)}: retraining did harm; it raised the MAE by {interval}."
    smallest = number(figures["smallest_detectable_percent"], 2)
    return (
        f"{display_name(target)}: no difference is shown: {number(percent, 2)} %, interval {number(low, 2)} to"
        f" {number(high, 2)} %; these months tell differences from {smallest} % on."
    )
