"""The data sets: oracle by window, unseen links, drift, recordings."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from accuracy.data import TEST, UNSEEN, Shape, oracle_forecasts, recording, recordings, synthetic, unseen_links

from bwpredict import schema
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_windows
from bwpredict.errors import ConfigError, TelemetryError
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned


def links_of(index):
    return set(index.frame.link[index.starts].tolist())


def test_unseen_links_are_in_nothing_that_training_looks_at(dataset):
    unseen = links_of(dataset.tests[UNSEEN])
    assert unseen
    for part in ("train", "validation", "calibration"):
        assert not unseen & links_of(dataset.split[part])
    assert not unseen & links_of(dataset.tests[TEST])


def test_both_reports_are_of_the_test_span(dataset):
    begin, end = dataset.split.boundaries["test"]
    for index in dataset.tests.values():
        assert index.frame.timestamps[index.starts].min() >= begin
        assert index.frame.timestamps[index.target_rows].max() < end


@pytest.mark.parametrize(("links", "count"), [(1, 0), (2, 0), (3, 1), (5, 1), (20, 4)])
def test_a_fifth_of_the_links_is_kept_out(links, count):
    assert unseen_links(links, 42).sum() == count


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fleet")
    write_partitioned(FleetConfig(links=2, days=2), folder / "telemetry", oracle=True)
    return folder


def test_the_oracle_is_joined_by_link_and_time_of_the_last_sample(fleet):
    index = index_windows(read_data_path(fleet / "telemetry"), 20, 15).spread(50)
    known = {
        (row["node_id"], row["peer_id"], row["timestamp"]): [row[f"oracle_{name}"] for name in schema.TARGETS]
        for path in (fleet / "oracle").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    joined = oracle_forecasts(fleet / "oracle", index)
    for number, start in enumerate(index.starts):
        link = index.frame.links.iloc[index.frame.link[start]]
        key = (int(link["node_id"]), int(link["peer_id"]), int(index.frame.timestamps[start + 19]))
        np.testing.assert_allclose(joined[number], known[key], rtol=1e-6)


def test_a_window_without_oracle_is_an_error_and_not_a_gap(fleet, tmp_path):
    index = index_windows(read_data_path(fleet / "telemetry"), 20, 15)
    days = sorted((fleet / "oracle").rglob("*.parquet"))
    (tmp_path / days[0].name).write_bytes(days[0].read_bytes())
    with pytest.raises(TelemetryError, match="no oracle forecast for"):
        oracle_forecasts(tmp_path, index)


def test_drift_begins_with_the_test_span():
    shape = Shape(links=2, days=8, test_windows=100)
    calm, drifting = synthetic("calm", shape), synthetic("drifting", shape)
    begin, _ = calm.split.boundaries["test"]
    frame, other = calm.split["train"].frame, drifting.split["train"].frame
    before = frame.timestamps < begin // 86_400 * 86_400
    np.testing.assert_array_equal(frame.values[before], other.values[before])
    after = frame.timestamps >= begin
    assert (frame.values[after, 0] != other.values[after, 0]).mean() > 0.9


def write_recording(folder, minutes=400):
    rows = "\n".join(f"{1_700_000_000 + 60 * n},{20 + n % 7},0" for n in range(minutes))
    path = folder / "wifi.csv"
    path.write_text(f"timestamp,rtt_ms,packet_loss\n{rows}\n")
    return path


def test_a_short_recording_is_cut_as_train_cuts_it_and_keeps_only_living_targets(tmp_path):
    dataset = recording(write_recording(tmp_path), Shape())
    assert dataset.name == "wifi"
    assert dataset.split.by == "samples"
    assert set(dataset.split["train"].frame.filled) >= {"throughput_mbps", "packet_loss", "jitter_ms"}
    assert "rtt_ms" not in dataset.split["train"].frame.filled


def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no recordings"):
        recordings(tmp_path)
