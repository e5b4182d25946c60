from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bwpredict.errors import TelemetryError
from bwpredict.evaluation.baselines import BASELINES
from bwpredict.evaluation.forecasts import collect, read_forecasts, write_forecasts


@pytest.fixture
def forecasts(gappy_index):
    few = gappy_index.spread(500)
    return collect(few, {"challenger": few.targets() * np.float32(1.1)})


def test_models_and_baselines_stand_side_by_side_with_what_came_true(gappy_index, forecasts):
    few = gappy_index.spread(500)
    assert set(forecasts.models) == {"challenger", *BASELINES}
    assert len(forecasts) == 500
    np.testing.assert_array_equal(forecasts.actual, few.targets())
    np.testing.assert_array_equal(forecasts.timestamps, few.frame.timestamps[few.target_rows])
    np.testing.assert_array_equal(forecasts.link, few.frame.link[few.target_rows])


def test_a_target_that_the_telemetry_lacks_is_left_out(gappy_index):
    without_loss = replace(gappy_index, frame=replace(gappy_index.frame, filled={"packet_loss": 0.0}))
    collected = collect(without_loss, {"challenger": gappy_index.targets()})
    assert collected.targets == ("throughput_mbps", "rtt_ms", "jitter_ms")
    np.testing.assert_array_equal(collected.actual, gappy_index.targets()[:, [0, 1, 3]])
    assert all(values.shape == (len(gappy_index), 3) for values in collected.models.values())


def test_forecasts_for_other_windows_are_refused(index):
    with pytest.raises(ValueError, match="champion"):
        collect(index, {"champion": index.targets()[:-1]})


def test_a_file_gives_back_what_was_written(tmp_path, forecasts):
    again = read_forecasts(write_forecasts(tmp_path / "forecasts.parquet", forecasts))
    assert again.targets == forecasts.targets
    assert again.models.keys() == forecasts.models.keys()
    for name, values in forecasts.models.items():
        np.testing.assert_array_equal(again.models[name], values)
    np.testing.assert_array_equal(again.actual, forecasts.actual)
    np.testing.assert_array_equal(again.timestamps, forecasts.timestamps)
    for key in ("node_id", "peer_id"):
        np.testing.assert_array_equal(
            again.links[key].to_numpy()[again.link], forecasts.links[key].to_numpy()[forecasts.link]
        )


def test_the_file_has_a_row_per_window_named_by_link_and_time(tmp_path, forecasts):
    table = pq.read_table(write_forecasts(tmp_path / "forecasts.parquet", forecasts))
    assert table.column_names[:5] == ["node_id", "peer_id", "timestamp", "actual_throughput_mbps", "actual_rtt_ms"]
    assert {"challenger_jitter_ms", "same_minute_yesterday_packet_loss"} < set(table.column_names)
    assert table.num_rows == len(forecasts)


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path):
    (tmp_path / "forecasts.parquet").write_text("node_id,peer_id")
    with pytest.raises(TelemetryError, match=r"forecasts\.parquet: cannot be read"):
        read_forecasts(tmp_path / "forecasts.parquet")


@pytest.mark.parametrize("kept", [["node_id", "peer_id", "timestamp"], ["node_id", "timestamp", "actual_rtt_ms"]])
def test_a_table_of_something_else_is_refused_naming_what_is_missing(tmp_path, kept):
    pq.write_table(pa.table({name: [1.0] for name in kept}), tmp_path / "other.parquet")
    with pytest.raises(TelemetryError, match=r"other\.parquet: holds no forecasts: column '(peer_id|actual_…)'"):
        read_forecasts(tmp_path / "other.parquet")
