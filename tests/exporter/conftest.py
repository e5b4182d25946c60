"""A published network in a folder that `pull` keeps, and eight days of telemetry of three links."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from challengers import V1
from frames import whole_days
from models import publish_stream_model, restless_model

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.serving.delivery import deliver
from bwpredict.store.factory import open_store


@pytest.fixture(scope="session")
def frame():
    return whole_days(8, links=3)


@pytest.fixture(scope="session")
def network(frame):
    return restless_model(split_windows(index_windows(frame, 20, 15), SplitConfig()), std=0.05)


@pytest.fixture(scope="session")
def models(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    store = open_store(str(folder / "store"))
    publish_stream_model(store, folder, V1, network)
    deliver(store, folder / "dest")
    return folder / "dest"


@pytest.fixture(scope="session")
def rows(frame):
    """The telemetry as a table, in the order of time."""
    keys = frame.links.iloc[frame.link]
    columns = {name: keys[name].to_numpy() for name in schema.LINK_KEY}
    columns["timestamp"] = frame.timestamps
    for place, name in enumerate(schema.FEATURES):
        values = np.asarray(frame.values[:, place])
        whole = pa.types.is_integer(schema.COLUMN[name].arrow_type)
        columns[name] = np.rint(values).astype(np.int64) if whole else values.astype(np.float64)
    return pa.table(columns).sort_by("timestamp")


@pytest.fixture
def write(rows, tmp_path):
    """Write the rows of some minutes (counted from the first) as a file of the folder that it returns."""

    def write_(first: int, past: int, *, name: str = "part", change=lambda table: table) -> Path:
        begin = rows["timestamp"][0].as_py()
        seconds = rows["timestamp"].to_numpy()
        chosen = (seconds >= begin + 60 * first) & (seconds < begin + 60 * past)
        folder = tmp_path / "telemetry"
        folder.mkdir(exist_ok=True)
        pq.write_table(change(rows.filter(pa.array(chosen))), folder / f"{name}-{first}-{past}.parquet")
        return folder

    return write_


@pytest.fixture
def clock(frame):
    """The unix second within a minute (counted from the telemetry's first) at which the exporter looks."""
    return lambda minute: float(frame.timestamps[0] + 60 * minute + 5)
