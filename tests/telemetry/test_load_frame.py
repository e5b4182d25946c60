"""`load_frame`: the pulled days as one frame, sorted per link."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telemetry_tables import NOVEMBER, OCTOBER, SECONDS, make_table, replace_value, write, write_days

from bwpredict import schema
from bwpredict.datasets.frame import load_frame
from bwpredict.errors import TelemetryError
from bwpredict.store.factory import open_store
from bwpredict.telemetry.snapshot import take_snapshot

KEYS = [("node_id", "ascending"), ("peer_id", "ascending"), ("timestamp", "ascending")]


@given(st.lists(st.integers(0, 119), unique=True, min_size=1), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_a_frame_holds_the_same_rows_as_one_sorted_table(tmp_path_factory, kept, seed):
    folder = tmp_path_factory.mktemp("frame")
    table = make_table(links=4, samples=30, step=7000, seed=seed).take(pa.array(sorted(kept))).sort_by(KEYS)
    frame = load_frame(write_days(table, folder))
    expected = table.to_pandas()
    np.testing.assert_array_equal(frame.timestamps, expected["timestamp"])
    np.testing.assert_array_equal(frame.values, expected[list(schema.FEATURES)].to_numpy(np.float32))
    named = frame.links.iloc[frame.link].reset_index(drop=True)
    assert named.equals(expected[list(named.columns)])
    assert frame.links.equals(frame.links.sort_values(list(schema.LINK_KEY)))
    assert (frame.values.dtype, frame.link.dtype, frame.cadence_seconds) == (np.float32, np.int32, 60)
    assert not frame.filled


def test_a_frame_of_what_pull_wrote_is_what_was_in_the_store(tmp_path):
    table = make_table(links=5, samples=50, step=3600)
    shuffled = table.take(np.random.default_rng(1).permutation(table.num_rows))
    write_days(shuffled, tmp_path / "store")
    take_snapshot(open_store(str(tmp_path / "store")), "", OCTOBER, NOVEMBER, tmp_path / "work")
    frame = load_frame(tmp_path / "work/telemetry")
    assert frame.rows == 250
    np.testing.assert_array_equal(frame.values[:, 1], table["rtt_ms"].to_numpy().astype(np.float32))


def test_a_missing_value_is_nan_in_its_place(tmp_path):
    table = replace_value(replace_value(make_table(), "rtt_ms", 7, None), "queue_depth", 8, None)
    frame = load_frame(write_days(table, tmp_path))
    missing = np.argwhere(np.isnan(frame.values)).tolist()
    assert missing == [[7, schema.FEATURES.index("rtt_ms")], [8, schema.FEATURES.index("queue_depth")]]


def test_a_links_attributes_are_those_of_its_latest_day(tmp_path):
    table = make_table(links=1, samples=2, step=86_400)
    frame = load_frame(write_days(replace_value(table, "region", 1, "moved"), tmp_path))
    assert frame.links["region"].tolist() == ["moved"]


def test_two_rows_of_one_link_and_time_are_refused(tmp_path):
    table = replace_value(make_table(), "timestamp", 5, SECONDS + 240)
    path = write(table, tmp_path / "date=2026-10-01/part-0.parquet")
    with pytest.raises(TelemetryError) as caught:
        load_frame(tmp_path)
    assert str(caught.value) == (
        f"{path}: link (0, 9) at timestamp {SECONDS + 240} has two rows with different values; keep one of them."
    )


def test_unsorted_rows_are_refused(tmp_path):
    write(make_table().sort_by([("timestamp", "descending")]), tmp_path / "date=2026-10-01/part-0.parquet")
    with pytest.raises(TelemetryError, match="is out of order"):
        load_frame(tmp_path)


def test_an_empty_link_is_refused(tmp_path):
    write(replace_value(make_table(), "peer_id", 59, None), tmp_path / "date=2026-10-01/part-0.parquet")
    with pytest.raises(TelemetryError, match=r"part-0\.parquet: column 'peer_id' is empty in 1 rows"):
        load_frame(tmp_path)


def test_a_folder_without_telemetry_is_refused(tmp_path):
    with pytest.raises(TelemetryError, match="expected the telemetry folder of a snapshot"):
        load_frame(tmp_path / "nothing")


def test_a_corrupt_day_is_named(tmp_path):
    path = write_days(make_table(), tmp_path) / "date=2026-10-01/part-0.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(TelemetryError, match=r"date=2026-10-01/part-0\.parquet: cannot be read as Parquet"):
        load_frame(tmp_path)
