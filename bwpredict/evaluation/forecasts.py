"""All models' forecasts for the same windows, side by side, so that every comparison is paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from bwpredict import schema
from bwpredict.datasets.windows import WindowIndex
from bwpredict.errors import TelemetryError
from bwpredict.evaluation.baselines import baseline_forecasts
from bwpredict.store.files import atomic_path

Array = npt.NDArray[np.float32]

JUDGED = ("challenger", "champion")
"""The models; all others are baselines."""
_ACTUAL = "actual"


@dataclass(frozen=True)
class Forecasts:
    """Actual values and each model's forecasts of n windows and t targets, in raw units."""

    targets: tuple[str, ...]
    """The targets that were measured; those that the telemetry lacks are left out."""
    actual: Array
    """[n, t]."""
    models: dict[str, Array]
    """Model or baseline → [n, t]; NaN where it has no forecast."""
    link: npt.NDArray[np.integer[Any]]
    """[n], position of the window's link in `links`."""
    timestamps: npt.NDArray[np.int64]
    """[n], unix seconds, UTC, of the target."""
    links: pd.DataFrame
    """One row per link, with `schema.LINK_KEY` at least."""
    labels: Mapping[str, npt.NDArray[np.object_]] = field(default_factory=dict)
    """Attribute → [n] texts: attributes of windows to slice the results by, beside those of links."""

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.actual)

    def absolute_errors(self) -> dict[str, npt.NDArray[np.float64]]:
        """[n, t] of each of the `JUDGED` models that is present."""
        models = [name for name in JUDGED if name in self.models]
        return {name: np.abs(self.models[name].astype(np.float64) - self.actual) for name in models}


def collect(index: WindowIndex, models: Mapping[str, Array]) -> Forecasts:
    """The models' forecasts [windows, 4] and the baselines', for the windows of the index."""
    for name, forecasts in models.items():
        if forecasts.shape != (len(index), len(schema.TARGETS)):
            raise ValueError(f"{name}: forecasts of shape {forecasts.shape} for {len(index)} windows")
    frame = index.frame
    measured = [place for place, name in enumerate(schema.TARGETS) if name not in (frame.filled or {})]
    everything = {**models, **baseline_forecasts(index)}
    return Forecasts(
        targets=tuple(schema.TARGETS[place] for place in measured),
        actual=index.targets()[:, measured],
        models={name: forecasts[:, measured] for name, forecasts in everything.items()},
        link=frame.link[index.target_rows],
        timestamps=frame.timestamps[index.target_rows],
        links=frame.links,
    )


def write_forecasts(path: Path, forecasts: Forecasts) -> Path:
    """Write a row per window: link, timestamp of the target, `actual_<target>`, `<model>_<target>`."""
    keys = forecasts.links.iloc[forecasts.link]
    columns: dict[str, Any] = {name: keys[name].to_numpy() for name in schema.LINK_KEY}
    columns["timestamp"] = forecasts.timestamps
    for name, values in {_ACTUAL: forecasts.actual, **forecasts.models}.items():
        columns |= {f"{name}_{target}": values[:, place] for place, target in enumerate(forecasts.targets)}
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    return path


def read_forecasts(source: Path | BinaryIO, name: str = "") -> Forecasts:
    """Read a file of `write_forecasts`; of the links only the key. `name` is what messages call a file without a path.

    Raises:
        TelemetryError: not a file of forecasts.
    """
    try:
        table = pq.read_table(source, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise TelemetryError(f"{name or source}: cannot be read as forecasts: {str(error).splitlines()[0]}.") from error
    targets = tuple(name for name in schema.TARGETS if f"{_ACTUAL}_{name}" in table.column_names)
    missing = {*schema.LINK_KEY, "timestamp"} - set(table.column_names)
    if missing or not targets:
        raise TelemetryError(
            f"{name or source}: holds no forecasts: column {min(missing, default='actual_…')!r} is missing."
        )
    ending = f"_{targets[0]}"
    names = [name.removesuffix(ending) for name in table.column_names if name.endswith(ending)]
    values = {name: _matrix(table, name, targets) for name in names}
    keys = table.select(schema.LINK_KEY).to_pandas()
    links = keys.drop_duplicates().sort_values(list(schema.LINK_KEY)).reset_index(drop=True)
    link = keys.groupby(list(schema.LINK_KEY)).ngroup().to_numpy()
    return Forecasts(targets, values.pop(_ACTUAL), values, link, table["timestamp"].to_numpy(), links)


def _matrix(table: pa.Table, name: str, targets: tuple[str, ...]) -> Array:
    return np.stack([table[f"{name}_{target}"].to_numpy() for target in targets], axis=1)
