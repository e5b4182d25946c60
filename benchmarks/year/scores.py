"""How far each candidate's forecasts are from what happened, in the months after it and on the test days of others.

Each model counts as consumers run it: half over windows, half as a stream.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from bwpredict import schema
from bwpredict.config import GatePolicy
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.frame import load_frame
from bwpredict.datasets.windows import WindowIndex, index_windows
from bwpredict.evaluation.coverage import coverage
from bwpredict.evaluation.forecasts import Forecasts, collect
from bwpredict.evaluation.paired_difference import mean_difference
from bwpredict.inference.onnx_model import Bounds, forecast, forecast_with_bounds
from bwpredict.inference.stream_model import Floats, forecast_stream, open_stream
from bwpredict.monitoring import accuracy
from bwpredict.pipeline import challenger
from bwpredict.pipeline.seen_days import target_days
from bwpredict.store.files import write_atomically
from bwpredict.workspace.artifacts import TELEMETRY, read_run
from year.candidates import Candidate, Terms
from year.world import Month

Document = dict[str, Any]

WINDOWS_A_LINK_AND_DAY = 72
UNIT = "mean_15_minutes"
"""Errors are in units of this simple forecast's, for each link and target."""


def score(month: Month, candidates: Sequence[Candidate], terms: Terms) -> Document:
    """Version → `error`, and `days` with skill and coverage over windows, of earlier candidates; kept in a file."""
    path = terms.folder / "scores" / f"{month.name}.json"
    if path.is_file():
        known: Document = json.loads(path.read_bytes())
        if set(known) == {one.version for one in candidates}:
            return known
    index = index_windows(read_data_path(terms.truth(month)), schema.WINDOW_SIZE, schema.HORIZON_MINUTES)
    index = index.spread(month.links * terms.days * WINDOWS_A_LINK_AND_DAY)
    served = {one.version: forecast_with_bounds(one.onnx, index) for one in candidates}
    forecasts = collect(index, {version: one.output for version, one in served.items()})
    streams = collect(index, {one.version: _stream(one, index) for one in candidates})
    document = {
        version: {
            "error": (error_of(forecasts, version) + error_of(streams, version)) / 2,
            "days": _days(index, forecasts, version, one.bounds),
        }
        for version, one in served.items()
    }
    write_atomically(path, json.dumps(document).encode())
    return document


def error_of(forecasts: Forecasts, model: str) -> float:
    """The mean over links and targets of the MAE in units of the simple forecast's."""
    own, simple = (np.abs(forecasts.models[name].astype(np.float64) - forecasts.actual) for name in (model, UNIT))
    links = np.unique(forecasts.link)
    ratios = [own[forecasts.link == link].mean(axis=0) / simple[forecasts.link == link].mean(axis=0) for link in links]
    return float(np.mean(ratios))


def published_skill(candidate: Candidate, terms: Terms) -> dict[str, float | None]:
    """Target → skill on its own test days, as the run that makes it states it."""
    path = terms.folder / "published" / f"{candidate.month}.json"
    if not path.is_file():
        index = _test_windows(candidate)
        forecasts = collect(index, {"challenger": forecast(candidate.onnx, index)})
        figures = accuracy.figures(forecasts, "challenger")
        write_atomically(path, json.dumps({name: one["skill"] for name, one in figures.items()}).encode())
    known: dict[str, float | None] = json.loads(path.read_bytes())
    return known


def estimate(challenger_of: Candidate, champion: Candidate, terms: Terms) -> float:
    """Percent by which the challenger's error is above the champion's on the challenger's test days; no interval."""
    path = terms.folder / "estimates" / f"{challenger_of.month} {champion.month}.json"
    if not path.is_file():
        index, both = _test_windows(challenger_of), {"challenger": challenger_of, "champion": champion}
        found = [
            mean_difference(
                collect(index, {name: run(one, index) for name, one in both.items()}), "champion", GatePolicy().weights
            )
            for run in (_over_windows, _stream)
        ]
        write_atomically(path, json.dumps(np.mean([one["weighted"]["percent"] for one in found])).encode())
    return float(json.loads(path.read_bytes()))


def _over_windows(candidate: Candidate, index: WindowIndex) -> Floats:
    return forecast(candidate.onnx, index)


def _stream(candidate: Candidate, index: WindowIndex) -> Floats:
    return forecast_stream(open_stream(candidate.stream, threads=1), index).output


def _test_windows(candidate: Candidate) -> WindowIndex:
    run = read_run(candidate.area)
    split = challenger.make_split(load_frame(candidate.area / TELEMETRY), run)
    return split["test"].spread(run.maximum_test_windows)


def _days(index: WindowIndex, forecasts: Forecasts, version: str, bounds: Bounds | None) -> list[Document]:
    days, found = target_days(index), []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        held = coverage(_rows(forecasts, rows), _bounds(bounds, rows)) if bounds else None
        figures = accuracy.figures(forecasts, version, days == day)
        found.append(
            {
                "day": str(np.datetime64(int(day), "D")),
                "windows": len(rows),
                "skill": {name: one["skill"] for name, one in figures.items()},
                "level": held and held["level"],
                "coverage": held and {name: one["coverage"] for name, one in held["per_target"].items()},
            }
        )
    return found


def _rows(forecasts: Forecasts, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Forecasts:
    """Of these windows, with no model: what coverage needs."""
    return Forecasts(
        forecasts.targets, forecasts.actual[rows], {}, forecasts.link[rows], forecasts.timestamps[rows], forecasts.links
    )


def _bounds(bounds: Bounds, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Bounds:
    return Bounds(bounds.lower[rows], bounds.upper[rows], bounds.level)
