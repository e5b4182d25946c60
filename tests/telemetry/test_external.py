"""Telemetry from anywhere: fewer columns, other names, other cadences."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from telemetry_tables import SECONDS, make_table, replace_value, write, write_days

from bwpredict import schema
from bwpredict.datasets.external import missing_features, read_data_path
from bwpredict.datasets.frame import FILL_VALUE, load_frame
from bwpredict.datasets.windows import index_windows
from bwpredict.errors import TelemetryError

REAL = Path(__file__).parents[3] / "shared" / "data"
RTT = schema.FEATURES.index("rtt_ms")


def csv(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def refused(path: Path) -> str:
    with pytest.raises(TelemetryError) as caught:
        read_data_path(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_file_with_all_columns_gives_the_frame_that_a_pulled_folder_gives(tmp_path, name):
    table = make_table(links=3, samples=40)
    shuffled = pa.concat_tables([table, table.slice(3, 5)]).take(np.random.default_rng(0).permutation(125))
    pulled = load_frame(write_days(table, tmp_path / "pulled"))
    frame = read_data_path(write(shuffled, tmp_path / name))
    np.testing.assert_array_equal(frame.values, pulled.values)
    np.testing.assert_array_equal(frame.timestamps, pulled.timestamps)
    np.testing.assert_array_equal(frame.link, pulled.link)
    assert frame.links[list(pulled.links)].equals(pulled.links)
    assert frame.filled == {}


def test_a_folder_is_read_whole_partitioned_or_flat(tmp_path):
    table = make_table(links=2, samples=48, step=3600)
    write(table.slice(0, 50), tmp_path / "flat/one.csv")
    write(table.slice(50), tmp_path / "flat/two.parquet")
    write(table, tmp_path / "flat/_hidden.parquet")
    frames = [read_data_path(tmp_path / "flat"), read_data_path(write_days(table, tmp_path / "days"))]
    assert [frame.rows for frame in frames] == [96, 96]
    np.testing.assert_array_equal(frames[0].values, frames[1].values)


def test_a_named_link_without_most_columns(tmp_path, caplog):
    """The shape of ripe_atlas_rtt: a link's name, four minutes with a jittery clock, empty cells."""
    lines = ["timestamp,link,rtt_ms,packet_loss"]
    for probe, level in (("probe7", 30), ("probe11", 80)):
        jitter = np.random.default_rng(level).integers(-3, 4, 60)
        lines += [
            f"{SECONDS + 240 * step + jitter[step]},{probe},{'' if step == 9 else level + step / 10},{int(step == 9)}"
            for step in range(60)
        ]
    with caplog.at_level(logging.INFO, "bwpredict"):
        frame = read_data_path(csv(tmp_path / "a.csv.gz", "\n".join(lines)))
    assert frame.cadence_seconds == 240
    assert frame.links.to_dict("list") == {"node_id": [0, 1], "peer_id": [0, 0], "name": ["probe11", "probe7"]}
    absent = ["throughput_mbps", "jitter_ms", "congestion_window", "queue_depth", "retransmits"]
    assert frame.filled == dict.fromkeys(absent, FILL_VALUE)
    told = [*missing_features(frame), "rtt_ms is empty in 2 of 120 rows; no window contains them."]
    assert [str(record.message) for record in caplog.records][-6:] == told
    assert missing_features(frame)[0] == "throughput_mbps is missing; it is 0 in every row and is not forecast."
    assert missing_features(frame)[2] == "congestion_window is missing; it is 0 in every row."
    np.testing.assert_array_equal(frame.values[:, 4], schema.CALENDAR.hours(frame.timestamps))
    np.testing.assert_array_equal(frame.values[:, 5], schema.CALENDAR.days(frame.timestamps))
    assert np.flatnonzero(np.isnan(frame.values).any(axis=1)).tolist() == [9, 69]
    index = index_windows(frame, window_size=5, horizon_minutes=15)
    assert index.horizon_steps == 4
    # Nine samples make a window: one before the empty cell, and those of the fifty after it.
    assert len(index) == 2 * (1 + 50 - 9 + 1)


def test_samples_of_seconds_become_means_of_the_minute(tmp_path):
    """The shape of seattle_rtt: named nodes, relative time, 15.7 s apart."""
    lines = ["timestamp,node_id,peer_id,rtt_ms"]
    lines += [f"{step * 15.7:.1f},n{pair},n7,{'' if step in (0, 8) else step}" for pair in (1, 2) for step in range(40)]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert frame.cadence_seconds == 60
    assert frame.links.to_dict("list") == {"node_id": [0, 1], "peer_id": [2, 2], "name": ["n1-n7", "n2-n7"]}
    assert frame.timestamps[:11].tolist() == list(range(0, 660, 60))
    # Steps 0 to 3 are in minute 0 (0 is empty), 4 to 7 in minute 1, 8 to 11 in minute 2 (8 is empty).
    assert frame.values[:3, RTT].tolist() == [2.0, 5.5, 10.0]


def test_a_minute_with_no_sample_stays_a_gap_and_one_with_only_empty_cells_is_missing(tmp_path):
    lines = ["timestamp,rtt_ms", "0,1", "20,3", "60,", "80,", "180,5", "200,5"]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert frame.timestamps.tolist() == [0, 60, 180]
    np.testing.assert_array_equal(frame.values[:, RTT], [2.0, np.nan, 5.0])


def test_samples_in_between_and_rows_of_other_measurements_split_no_window(tmp_path):
    """The shape of netrics: pings every 5 minutes, some more in between, and rows of other measurements."""
    pings = [f"{300 * step + 0.4},{step}" for step in range(40)]
    between = ["3000.1,30", *(f"{6000 + 60 * number},99" for number in (1, 2))]
    lines = ["timestamp,rtt_ms", *pings, *between, *(f"{600 * step + 30.7}," for step in range(20))]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert frame.timestamps.tolist() == [300 * step for step in range(40)]
    assert frame.values[9:12, RTT].tolist() == [9, 30, 11]
    assert len(index_windows(frame, 5, 15)) == 40 - 5 - 3 + 1


def test_a_link_without_any_value_keeps_its_place(tmp_path):
    lines = [
        "timestamp,link,rtt_ms",
        *(f"{300 * step},{link},{value}" for link, value in (("a", 1), ("b", "")) for step in range(9)),
    ]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert np.bincount(frame.link).tolist() == [9, 9]


def test_of_samples_that_come_more_often_for_a_while_those_at_the_cadence_stay(tmp_path):
    often = [f"{3000 + 60 * number},1" for number in range(1, 50)]
    lines = ["timestamp,rtt_ms", *(f"{300 * step},1" for step in range(200)), *often]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert np.diff(frame.timestamps).min() >= 150
    assert np.diff(frame.timestamps).max() < 450


def test_unknown_columns_are_ignored_and_said(tmp_path, caplog):
    """The shape of starlink_1min: a column that the schema does not know."""
    lines = ["timestamp,link,throughput_mbps,throughput_up_mbps,rtt_ms,packet_loss,jitter_ms"]
    lines += [f"{SECONDS + 60 * step},dish,1.5,0.2,30.1,0.0023,0.5" for step in range(30)]
    with caplog.at_level(logging.INFO, "bwpredict"):
        frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert "columns that the schema does not know are ignored: throughput_up_mbps" in caplog.text
    assert list(frame.filled) == ["congestion_window", "queue_depth", "retransmits"]
    assert frame.cadence_seconds == 60


def test_the_older_names_and_a_file_of_one_link(tmp_path, caplog):
    lines = ["time,bandwidth_mbps,latency_ms", *(f"{SECONDS + 60 * step},{step},20" for step in range(30))]
    with caplog.at_level(logging.INFO, "bwpredict"):
        frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert "time → timestamp" in caplog.text
    assert (len(frame.links), frame.values[29, 0], frame.values[0, RTT]) == (1, 29.0, 20.0)


def test_numbered_nodes_keep_their_numbers(tmp_path):
    lines = ["timestamp,node_id,peer_id,rtt_ms", f"{SECONDS},10,9,1", f"{SECONDS},2,30,1", f"{SECONDS},2,4,1"]
    frame = read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert frame.links.to_dict("list") == {"node_id": [2, 2, 10], "peer_id": [4, 30, 9]}


def test_a_calendar_column_of_another_convention_is_said(tmp_path, caplog):
    lines = ["timestamp,rtt_ms,day_of_week", *(f"{SECONDS + 60 * step},5,3" for step in range(30))]
    read_data_path(csv(tmp_path / "a.csv", "\n".join(lines)))
    assert "day_of_week does not agree with timestamp: time_of_day is the hour in UTC" in caplog.text


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("rtt_ms", "fast", "column 'rtt_ms' holds 'fast' in line 6; expected a number."),
        ("rtt_ms", "inf", "column 'rtt_ms' holds inf in line 6; expected a finite number, 0 or more (ms)."),
        ("rtt_ms", "-1", "column 'rtt_ms' holds -1 in line 6; expected a finite number, 0 or more (ms)."),
        ("packet_loss", "35", "column 'packet_loss' holds 35 in line 6; expected a finite number, 0 to 1 (share)."),
        (
            "timestamp",
            "1790812800000",
            "column 'timestamp' holds 1.79081e+12 in line 6; expected unix seconds (not milliseconds), never empty.",
        ),
        (
            "timestamp",
            "",
            "column 'timestamp' holds nan in line 6; expected unix seconds (not milliseconds), never empty.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_file_column_and_line(tmp_path, column, value, complaint):
    table = make_table().select(["timestamp", "rtt_ms", "packet_loss", "node_id", "peer_id"])
    path = write(replace_value(table, column, 4, value), tmp_path / "a.csv")
    path.write_text(path.read_text().replace('"', ""))
    assert refused(path) == f"{path}: {complaint}"


def test_two_different_rows_of_one_link_and_time_are_refused(tmp_path):
    path = csv(tmp_path / "a.csv", f"timestamp,link,rtt_ms\n{SECONDS},x,1\n{SECONDS},x,2\n")
    assert "link x has two different rows at timestamp 1790812800; keep one of them" in refused(path)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read as CSV"),
        (
            "link,rtt_ms\na,1\n",
            "lacks the column 'timestamp'. If its columns have other names",
        ),
        ("timestamp,link\n1,a\n", "has none of the columns to forecast: throughput_mbps, rtt_ms, packet_loss"),
        ("timestamp,rtt_ms\n", "holds no rows"),
        ("timestamp,link,rtt_ms\n1,,2\n", "column 'link' is empty in 1 rows"),
    ],
)
def test_an_unusable_file_is_named(tmp_path, text, complaint):
    path = csv(tmp_path / "a.csv", text)
    assert refused(path).startswith(f"{path}: {complaint}")


def test_a_path_that_holds_no_telemetry_is_named(tmp_path):
    assert refused(tmp_path / "none.csv").startswith(f"{tmp_path}/none.csv: no such file or folder")
    assert refused(tmp_path).startswith(f"{tmp_path}: holds no telemetry")
    assert refused(csv(tmp_path / "a.json", "{}")).startswith(f"{tmp_path}/a.json: holds no telemetry")


def test_files_of_a_folder_must_have_the_same_columns(tmp_path):
    table = make_table().select(["timestamp", "node_id", "peer_id", "rtt_ms", "jitter_ms"])
    write(table, tmp_path / "b.csv")
    write(table.drop_columns("jitter_ms"), tmp_path / "a.csv")
    assert refused(tmp_path) == f"{tmp_path}/a.csv: lacks the column 'jitter_ms' that {tmp_path}/b.csv has."


@pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside the checkout (../shared/data)")
@pytest.mark.parametrize(
    ("name", "rows", "links", "cadence_seconds", "absent"),
    [
        ("ripe_atlas_rtt", 339_677, 40, 240, ["throughput_mbps", "jitter_ms"]),
        ("starlink_1min", 3_079, 5, 60, []),
        ("seattle_rtt", 36_000, 200, 60, ["throughput_mbps", "packet_loss", "jitter_ms"]),
    ],
)
def test_the_real_sets_are_read(name, rows, links, cadence_seconds, absent):
    frame = read_data_path(REAL / f"{name}.csv.gz")
    assert (frame.rows, len(frame.links), frame.cadence_seconds) == (rows, links, cadence_seconds)
    assert [target for target in schema.TARGETS if target in frame.filled] == absent
    assert len(index_windows(frame, 20, 15)) > 0.7 * rows
