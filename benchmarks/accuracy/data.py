"""The benchmark's data sets: the generator's regimes with their oracle, and recordings from a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from accuracy.task import Array
from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.splitting import choose_split
from bwpredict.datasets.windows import Split, WindowIndex, days_of_parts, index_windows, split_windows
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.pipeline.challenger import drop_constant_targets
from bwpredict.pipeline.standalone import digest
from bwpredict.simulation.fleet import FleetConfig, RegimeName
from bwpredict.simulation.writer import write_partitioned
from bwpredict.telemetry import description
from bwpredict.telemetry.sources import is_telemetry_name

REGIMES: tuple[RegimeName, ...] = get_args(RegimeName)
START = date(2026, 10, 1)
TEST, UNSEEN = "test", "unseen links"
UNSEEN_SHARE = 0.2


@dataclass(frozen=True)
class Shape:
    """What is the same for all data sets."""

    window_size: int = schema.WINDOW_SIZE
    horizon_minutes: int = schema.HORIZON_MINUTES
    test_windows: int = 20_000
    """At most this many test windows, evenly spread; the same for all models."""
    links: int = 20
    days: int = 30
    test_days: int = SplitConfig().test_days
    """Fewest, of a generated data set."""
    seed: int = 42
    """Of the generator, and of the choice of unseen links."""


@dataclass(frozen=True)
class Dataset:
    """Windows to train on, and windows to be judged on."""

    name: str
    digest: str
    """Of all samples."""
    split: Split
    """Without the unseen links, but for its test part."""
    tests: dict[str, WindowIndex]
    """`TEST`: the test span. `UNSEEN`: the same span on links that training never saw, where there are any."""
    oracle: dict[str, Array] | None = None
    """For each of `tests`, the best forecast there is: [n, targets]; None where nobody knows it."""


def synthetic(regime: RegimeName, shape: Shape) -> Dataset:
    """A regime of the generator. In "drifting", all of the test span, and nothing before it, has drifted.

    Raises:
        ConfigError, TelemetryError: the shape asks for what cannot be generated or split.
    """
    cut = SplitConfig(test_days=shape.test_days)
    test_days = int(days_of_parts(cut, shape.days)[-1])
    drift_from = START + timedelta(days=shape.days - test_days)
    fleet = FleetConfig(
        links=shape.links, days=shape.days, start=START, seed=shape.seed, regime=regime, drift_from=drift_from
    )
    with tempfile.TemporaryDirectory() as folder:
        telemetry, oracle = Path(folder, "telemetry"), Path(folder, "oracle")
        write_partitioned(fleet, telemetry, oracle=True, oracle_folder=oracle, horizon_minutes=shape.horizon_minutes)
        frame = read_data_path(telemetry)
        split = split_windows(index_windows(frame, shape.window_size, shape.horizon_minutes), cut)
        unseen = unseen_links(len(frame.links), shape.seed)
        tests = {
            name: part.spread(shape.test_windows)
            for name, part in (
                (TEST, _of_links(split[TEST], ~unseen)),
                (UNSEEN, _of_links(split[TEST], unseen)),
            )
            if len(part)
        }
        known = {name: oracle_forecasts(oracle, index) for name, index in tests.items()}
    kept = {name: part if name == TEST else _of_links(part, ~unseen) for name, part in split.parts.items()}
    return Dataset(regime, digest(frame), replace(split, parts=kept), tests, known)


def recording(path: Path, shape: Shape) -> Dataset:
    """A recording, cut as `bwpredict train` cuts it. Targets that training never sees change are left out.

    Raises:
        TelemetryError: the file cannot be read, or is too short to be split.
    """
    frame = read_data_path(path)
    cut = choose_split(index_windows(frame, shape.window_size, shape.horizon_minutes), SplitConfig())
    split = drop_constant_targets(cut, cut["train"])
    return Dataset(recording_name(path), digest(frame), split, {TEST: split[TEST].spread(shape.test_windows)})


def recordings(folder: Path) -> list[Path]:
    """The telemetry files of a folder, and the folders in it that `bwpredict import` made.

    Raises ConfigError if there is none.
    """
    found = [
        path
        for path in sorted(folder.glob("*"))
        if (path / description.NAME).is_file() or (path.is_file() and is_telemetry_name(path.name))
    ]
    if not found:
        raise ConfigError(f"{folder}: holds no recordings; expected CSV or Parquet files, or imported folders.")
    return found


def recording_name(path: Path) -> str:
    """How the results call a recording: its file's name without suffixes."""
    return path.name.partition(".")[0]


def unseen_links(links: int, seed: int) -> npt.NDArray[np.bool_]:
    """[links], the share that is kept out of training; none of fewer than 3."""
    chosen = np.zeros(links, dtype=bool)
    count = max(1, round(UNSEEN_SHARE * links)) if links >= 3 else 0
    chosen[np.random.default_rng(seed).choice(links, size=count, replace=False)] = True
    return chosen


def oracle_forecasts(folder: Path, index: WindowIndex) -> Array:
    """[n, targets], the oracle's forecasts from each window's last sample. Raises TelemetryError if one is missing."""
    origins = index.starts + index.window_size - 1
    times, link = index.frame.timestamps[origins], index.frame.link[origins]
    table = pa.concat_tables(_within(pq.read_table(path), times) for path in sorted(folder.rglob("*.parquet")))
    keys = [table[name].to_numpy() for name in (*schema.LINK_KEY, "timestamp")]
    links = index.frame.links.iloc[link]
    wanted = pd.MultiIndex.from_arrays([*(links[name].to_numpy() for name in schema.LINK_KEY), times])
    rows = pd.MultiIndex.from_arrays(keys).get_indexer(wanted)
    if (rows < 0).any():
        raise TelemetryError(f"{folder}: has no oracle forecast for {(rows < 0).sum()} of {len(rows)} windows.")
    return np.stack([table[f"oracle_{name}"].to_numpy()[rows] for name in schema.TARGETS], axis=1).astype(np.float32)


def _within(table: pa.Table, times: npt.NDArray[np.int64]) -> pa.Table:
    time = table["timestamp"]
    return table.filter(pc.and_(pc.greater_equal(time, int(times.min())), pc.less_equal(time, int(times.max()))))


def _of_links(part: WindowIndex, chosen: npt.NDArray[np.bool_]) -> WindowIndex:
    return part.take(chosen[part.frame.link[part.starts]])


def datasets(names: list[str], folder: Path | None, shape: Shape) -> Iterator[Dataset]:
    """The named data sets one after another, so that one at a time is in memory."""
    files = {recording_name(path): path for path in recordings(folder)} if folder else {}
    for name in names:
        yield synthetic(name, shape) if name in REGIMES else recording(files[name], shape)
