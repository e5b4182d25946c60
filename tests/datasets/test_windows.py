from itertools import pairwise

import numpy as np
import pytest
from frames import make_frame, whole_days
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import PARTS, Starts, index_windows, split_windows
from bwpredict.errors import ConfigError, TelemetryError

minutes_of_a_link = st.sets(st.integers(0, 120), min_size=1).map(sorted)


def window_rows(index):
    span = index.window_size + index.horizon_steps
    return index.starts[:, None] + np.arange(span)


@settings(max_examples=200, deadline=None)
@given(st.lists(minutes_of_a_link, min_size=1, max_size=4), st.integers(5, 12), st.integers(1, 8))
def test_the_index_holds_every_window_without_gap_and_no_other(links, window_size, horizon_minutes):
    frame = make_frame(links)
    expected = []
    first_row = 0
    for minutes in links:
        present = set(minutes)
        for position, minute in enumerate(minutes):
            if all(minute + step in present for step in range(window_size + horizon_minutes)):
                expected.append(first_row + position)
        first_row += len(minutes)
    if not expected:
        with pytest.raises(TelemetryError, match="no link has a window"):
            index_windows(frame, window_size, horizon_minutes)
        return
    assert index_windows(frame, window_size, horizon_minutes).starts.tolist() == expected


def test_a_window_never_crosses_a_link():
    frame = make_frame([list(range(50)), list(range(50, 100))])
    index = index_windows(frame, 20, 15)
    assert (np.ptp(frame.link[window_rows(index)], axis=1) == 0).all()
    assert len(index) == 2 * (50 - 34)


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_a_window_never_holds_a_missing_value(missing):
    frame = make_frame([list(range(100))])
    frame.values[40, 3] = missing
    index = index_windows(frame, 20, 15)
    assert 40 not in window_rows(index)
    assert np.isfinite(index.inputs()).all()
    assert len(index) == (40 - 34) + (59 - 34)


def test_inputs_and_targets_are_the_rows_they_claim():
    frame = whole_days(1)
    index = index_windows(frame, 20, 15)
    which = np.array([0, 7, len(index) - 1])
    for window, target, start in zip(index.inputs(which), index.targets(which), index.starts[which], strict=True):
        np.testing.assert_array_equal(window, frame.values[start : start + 20])
        np.testing.assert_array_equal(target, frame.values[start + 34, :4])
        assert frame.timestamps[start + 34] - frame.timestamps[start + 19] == schema.HORIZON_MINUTES * 60


def test_a_coarser_cadence_keeps_the_horizon_in_minutes():
    frame = make_frame([list(range(60))], cadence_seconds=240)
    index = index_windows(frame, 20, 15)
    assert index.horizon_steps == 4


def test_a_horizon_below_one_step_is_refused():
    with pytest.raises(ConfigError, match="less than one step"):
        index_windows(make_frame([list(range(60))], cadence_seconds=240), 20, 1)


@pytest.mark.parametrize(("days", "whole"), [(14, True), (3, False)])
def test_parts_are_in_order_and_an_embargo_apart(days, whole):
    frame = whole_days(days)
    split = split_windows(index_windows(frame, 20, 15), SplitConfig())
    assert split.whole_days is whole
    for earlier, later in pairwise(PARTS):
        last_seen = frame.timestamps[split[earlier].target_rows].max()
        first_used = frame.timestamps[split[later].starts].min()
        assert first_used - last_seen > 35 * 60
    assert frame.timestamps[split["test"].target_rows].max() == frame.timestamps.max()


@pytest.mark.parametrize(
    ("days", "of_test"),
    [(7, 2), (9, 3), (10, 4), (14, 5), (18, 7), (30, 7), (60, 9)],  # at most two fifths, at least 15 %
)
def test_the_test_part_is_seven_whole_days_where_the_span_allows(days, of_test):
    split = split_windows(index_windows(whole_days(days, links=1), 20, 15), SplitConfig())
    start, end = split.boundaries["test"]
    assert end % 86_400 == 0
    assert (start - 35 * 60) % 86_400 == 0
    assert end - start == of_test * 86_400 - 35 * 60


def test_the_days_of_the_test_part_can_be_asked_for():
    split = split_windows(index_windows(whole_days(14, links=1), 20, 15), SplitConfig(test_days=3))
    start, end = split.boundaries["test"]
    assert end - start == 3 * 86_400 - 35 * 60


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2000), min_size=600, max_size=900, unique=True).map(sorted), min_size=1,
                max_size=3), st.sampled_from(["calendar", "link"]))  # fmt: skip
def test_no_row_is_in_two_parts(links, by):
    frame = make_frame(links)
    try:
        split = split_windows(index_windows(frame, 5, 2), SplitConfig(by=by))
    except TelemetryError:
        return
    seen: set[int] = set()
    for part in split.parts.values():
        rows = set(window_rows(part).ravel().tolist())
        assert not rows & seen
        seen |= rows


def test_links_that_never_overlap_can_be_cut_one_by_one():
    frame = make_frame([list(range(1000)), list(range(10_000, 11_000))])
    split = split_windows(index_windows(frame, 20, 15), SplitConfig(by="link"))
    for part in split.parts.values():
        assert set(frame.link[part.starts].tolist()) == {0, 1}


def test_too_little_telemetry_for_a_part_is_an_error_that_says_so():
    with pytest.raises(TelemetryError, match="part of the split is empty"):
        split_windows(index_windows(make_frame([list(range(60))]), 20, 15),
                      SplitConfig())  # fmt: skip


def test_a_spread_index_is_sorted_and_of_the_asked_size():
    index = index_windows(whole_days(2), 20, 15)
    few = index.spread(100)
    assert len(few) == 100
    assert (np.diff(few.starts) > 0).all()
    assert len(index.spread(10**9)) == len(index)


def test_an_index_takes_no_more_memory_for_more_windows():
    positions = [index_windows(whole_days(days), 20, 15).positions for days in (2, 20)]
    assert [each.first.nbytes + each.past.nbytes for each in positions] == [32, 32]


@given(st.lists(st.integers(0, 60), min_size=1, unique=True), st.data())
def test_starts_are_the_rows_that_they_were_made_of(rows, data):
    starts = Starts.of_rows(np.array(rows))
    assert starts.rows().tolist() == rows
    which = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1)))
    assert starts.rows(np.array(which, dtype=np.int64)).tolist() == [rows[place] for place in which]
    assert starts.rows(np.array(rows) % 2 == 0).tolist() == [row for row in rows if row % 2 == 0]
    part = slice(*sorted(data.draw(st.tuples(st.integers(0, 70), st.integers(0, 70)))))
    assert starts.rows(part).tolist() == rows[part]


@pytest.mark.parametrize("rows_at_a_time", [1, 7, 100])
def test_windows_do_not_depend_on_how_many_rows_are_looked_at_at_a_time(monkeypatch, rows_at_a_time):
    minutes = [minute for minute in range(300) if minute not in {60, 61, 150}]
    frame = make_frame([minutes, list(range(90)), minutes])
    frame.values[[0, 99, 100, 200, len(frame.values) - 1], 2] = np.nan
    expected = index_windows(frame, 20, 15).starts.tolist()
    monkeypatch.setattr("bwpredict.datasets.windows.BLOCK_ROWS", rows_at_a_time)
    assert index_windows(frame, 20, 15).starts.tolist() == expected
