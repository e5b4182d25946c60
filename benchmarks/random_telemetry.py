"""Random telemetry files as people might have them, for fuzzing, and what must come of each."""

from __future__ import annotations

import gzip
import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.config import RunConfig, TrainingConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.file_mapping import FileMapping
from bwpredict.datasets.frame import TelemetryFrame, load_frame
from bwpredict.errors import BwPredictError
from bwpredict.evaluation.comparison import compare
from bwpredict.evaluation.forecasts import collect
from bwpredict.inference.onnx_model import Bounds
from bwpredict.ingestion.files import import_files
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.pipeline import challenger
from bwpredict.pipeline.standalone import prepare, train_on
from bwpredict.store.local import LocalStore
from bwpredict.telemetry.description import Description
from bwpredict.telemetry.snapshot import take_snapshot

NOW = datetime(2026, 11, 28, tzinfo=UTC)
START = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
TINY = TrainingConfig(epochs=1, batch_size=32, windows_per_epoch=64, validation_windows=64)
SHAPES = ("noise", "constant", "zero", "spikes", "idle", "tiny", "huge", "missing")
TYPES = ("plain", "plain", "single", "text")
MOST_ROWS = 60_000
_OTHERS = ("congestion_window", "queue_depth", "retransmits", "bytes_tx")
_TYPICAL = {"throughput_mbps": 100.0, "rtt_ms": 20.0, "packet_loss": 0.01, "jitter_ms": 2.0}


@dataclass(frozen=True)
class Recipe:
    """What a file is like."""

    seed: int
    cadence_s: int
    links: int
    naming: str
    sessions: tuple[tuple[int, int], ...]
    """Samples of pause before each session, and its length."""
    targets: tuple[tuple[str, str], ...]
    """Column and its shape."""
    others: tuple[str, ...]
    empty_share: float
    duplicates: bool
    shuffled: bool
    jitter_s: int
    form: str
    encoding: str
    types: str
    """Of the columns, one of `TYPES`: float64, float32 with dates for times in Parquet, or numbers as text."""
    whole_numbers_with_points: bool


def recipes() -> st.SearchStrategy[Recipe]:
    """Any recipe."""
    return st.builds(
        Recipe,
        seed=st.integers(0, 2**16),
        cadence_s=st.sampled_from([10, 60, 60, 300, 900]),
        links=st.one_of(st.integers(1, 4), st.sampled_from([40, 1000])),
        naming=st.sampled_from(["numbers", "names", "link", "none"]),
        sessions=st.lists(
            st.tuples(st.integers(0, 5000), st.integers(1, 700) | st.integers(200, 700)), min_size=1, max_size=6
        ).map(tuple),
        targets=st.lists(
            st.tuples(st.sampled_from(schema.TARGETS), st.sampled_from(SHAPES)),
            min_size=1, max_size=4, unique_by=lambda pair: pair[0],
        ).map(tuple),
        others=st.lists(st.sampled_from(_OTHERS), unique=True, max_size=3).map(tuple),
        empty_share=st.sampled_from([0.0, 0.0, 0.01, 0.5]),
        duplicates=st.booleans(),
        shuffled=st.booleans(),
        jitter_s=st.sampled_from([0, 0, 2]),
        form=st.sampled_from(["csv", "csv.gz", "parquet"]),
        encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "latin-1", "utf-16"]),
        types=st.sampled_from(TYPES),
        whole_numbers_with_points=st.booleans(),
    )  # fmt: skip


def recipe_of(seed: int) -> Recipe:
    """The random file of a seed."""
    drawn: list[Recipe] = []

    # Three examples: the first is the simplest one, whatever the seed.
    @seeded(seed)
    @settings(
        max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(recipes())
    def draw(recipe: Recipe) -> None:
        drawn.append(recipe)

    draw()
    return drawn[-1]


def write(recipe: Recipe, folder: Path) -> Path:
    """The file of a recipe."""
    table, path = _typed(_table(recipe), recipe), folder / f"telemetry.{recipe.form}"
    if recipe.form == "parquet":
        table.to_parquet(path)
        return path
    content = table.to_csv(index=False).encode(recipe.encoding)
    path.write_bytes(gzip.compress(content) if recipe.form == "csv.gz" else content)
    return path


def read(recipe: Recipe) -> str:
    """Read, import, pull and cut the file; "read", or the one sentence of the refusal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(recipe, folder)
        try:
            frame = read_data_path(path)
            store = LocalStore(folder / "store")
            done = import_files([path], FileMapping(), store, now=NOW)
            start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (done.days[0], done.days[-1]))
            pinned = take_snapshot(store, "", start, end + timedelta(days=1), folder / "work")
            imported = load_frame(folder / "work/telemetry", description=Description.of_snapshot(pinned))
            _same(frame, imported)
            split = challenger.make_split(imported, _run())
        except BwPredictError as error:
            return _sentence(error)
        for part in split.parts.values():
            if not np.isfinite(part.inputs()).all():
                raise AssertionError("a window holds a missing value")
        return "read"


def fit(recipe: Recipe) -> str:
    """Train on the file, calibrate and score, without ONNX and pictures; "trained", or the sentence of the refusal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(recipe, folder)
        try:
            prepared = prepare(path, TINY, split_by="calendar", now=NOW, code_version="fuzz")
            model = load_checkpoint(challenger.fit(folder, prepared.split, prepared.run))
        except BwPredictError as error:
            return _sentence(error)
    index = prepared.split["test"].spread(2000)
    with torch.inference_mode():
        forecast = model.eval()(torch.from_numpy(index.inputs()), model.empty_state(len(index)))
    bounds = Bounds(forecast.lower.numpy(), forecast.upper.numpy(), schema.INTERVAL_LEVEL)
    forecasts = collect(index, {"challenger": forecast.output.numpy()})
    _check(compare(forecasts, challenger_version="fuzz", challenger_sha256="", bounds=bounds))
    return "trained"


def train(recipe: Recipe) -> str:
    """Train on the file; "trained", or the one sentence of the refusal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(recipe, folder)
        try:
            comparison = train_on(path, folder / "out", TINY, split_by="calendar", now=NOW, code_version="fuzz")
        except BwPredictError as error:
            return _sentence(error)
        _check(comparison)
        return "trained"


def _check(comparison: dict[str, Any]) -> None:
    """No forecast of the comparison is missing, or where no value can be."""
    figures = comparison["models"]["challenger"]
    if figures["non_finite_forecasts"] or figures["out_of_bounds_forecasts"]:
        raise AssertionError("a forecast is not finite, or out of bounds")
    json.dumps(comparison, allow_nan=False)


def _run() -> RunConfig:
    return RunConfig(
        run_id="fuzz", version="v20261128_000000", month="2026-10", telemetry="", registry="", code_version="fuzz",
        created_at=NOW.isoformat(), training=TINY,
    )  # fmt: skip


def _sentence(error: BwPredictError) -> str:
    said = str(error)
    if "\n" in said or not said.endswith(".") or " nan" in said:
        raise AssertionError(f"no sentence: {said!r}") from error
    return said


def _same(frame: TelemetryFrame, imported: TelemetryFrame) -> None:
    if frame.cadence_seconds != imported.cadence_seconds or frame.filled != imported.filled:
        raise AssertionError("the import has another cadence, or lacks other columns")
    if frame.rows != imported.rows or not np.array_equal(frame.timestamps, imported.timestamps):
        raise AssertionError("the import has other rows")
    place = schema.TARGET_FEATURES
    np.testing.assert_allclose(frame.values[:, place], imported.values[:, place], rtol=1e-6)


def _table(recipe: Recipe) -> pd.DataFrame:
    rng = np.random.default_rng(recipe.seed)
    links = [_link(recipe, number, rng) for number in range(recipe.links)]
    table = pd.concat(links, ignore_index=True)
    if recipe.duplicates:
        table = pd.concat([table, table.sample(frac=0.1, random_state=recipe.seed)], ignore_index=True)
    if recipe.shuffled:
        table = table.sample(frac=1, random_state=recipe.seed, ignore_index=True)
    if recipe.naming == "none":
        table = table.drop_duplicates("timestamp")
    return table


def _typed(table: pd.DataFrame, recipe: Recipe) -> pd.DataFrame:
    """The same values in other types."""
    numbers = [name for name in table if name in schema.TARGETS]
    if recipe.types == "text":
        written = {name: [None if np.isnan(value) else f"{value:g}" for value in table[name]] for name in numbers}
        return table.assign(**written)
    if recipe.types == "single" and recipe.form == "parquet":
        times = pd.to_datetime(table["timestamp"], unit="s", utc=True)
        return table.astype(dict.fromkeys(numbers, np.float32)).assign(timestamp=times)
    return table


def _link(recipe: Recipe, number: int, rng: np.random.Generator) -> pd.DataFrame:
    steps, at = [], 0
    for pause, length in recipe.sessions:
        steps.append(np.arange(at + pause, at + pause + length))
        at += pause + length + 1
    step = np.concatenate(steps)[: MOST_ROWS // recipe.links]
    made: dict[str, Any] = {
        "timestamp": START + step * recipe.cadence_s + rng.integers(0, recipe.jitter_s + 1, len(step))
    }
    if recipe.naming == "numbers":
        made |= {"node_id": number, "peer_id": number + 7}
    elif recipe.naming == "names":
        made |= {"node_id": f"München {number}", "peer_id": "hub"}
    elif recipe.naming == "link":
        made["link"] = f"link-{number}"
    for name, shape in recipe.targets:
        values = _values(shape, _TYPICAL[name], len(step), rng)
        if name == "packet_loss":
            values = np.clip(values, 0, 1)
        values[rng.random(len(step)) < recipe.empty_share] = np.nan
        made[name] = values
    for name in recipe.others:
        whole = rng.integers(0, 1000, len(step))
        made[name] = whole.astype(float) if recipe.whole_numbers_with_points else whole
    return pd.DataFrame(made)


def _values(shape: str, typical: float, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    noise = typical * np.exp(0.2 * rng.normal(size=count))
    if shape == "constant":
        return np.full(count, typical)
    if shape == "zero":
        return np.zeros(count)
    if shape == "spikes":
        return np.where(rng.random(count) < 0.01, 1e4 * noise, noise)
    if shape == "idle":
        return np.where(np.arange(count) // 100 % 2, noise, 0.0)
    if shape == "missing":
        return np.full(count, np.nan)
    return noise * {"tiny": 1e-9, "huge": 1e9}.get(shape, 1.0)
