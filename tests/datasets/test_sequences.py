"""Telemetry as one sequence for each link."""

import numpy as np
from frames import make_frame

from bwpredict.datasets import sequences as sequences_module
from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.windows import index_samples, index_windows


def test_samples_of_links_that_lie_side_by_side_stay_apart():
    frame = make_frame([list(range(30)), list(range(40)), list(range(50))])
    index = index_samples(frame, 15)
    for part in (index, index.take(np.ones(len(index), bool))):
        sequences = Sequences.of(part)
        assert sequences.links.tolist() == [0, 1, 2]
        assert (sequences.past_row - sequences.first_row).tolist() == [30, 40, 50]


def test_a_sequence_goes_from_the_first_sample_of_a_window_to_the_last_target():
    frame = make_frame([list(range(100)), [*range(20), *range(60, 160)]])
    sequences = Sequences.of(index_windows(frame, 20, 15))
    assert (sequences.first_row.tolist(), sequences.past_row.tolist()) == ([0, 120], [100, 220])
    cut = sequences.cut(np.array([1]), sequences.spans[0][1:], 5)
    np.testing.assert_array_equal(cut[0], frame.values[120:125])


def test_cuts_have_nan_in_gaps_and_past_the_ends_whatever_is_cut_at_a_time(monkeypatch):
    monkeypatch.setattr(sequences_module, "ROWS_AT_A_TIME", 20)
    frame = make_frame([list(range(100)), [*range(60), *range(64, 160)]])
    sequences = Sequences.of(index_windows(frame, 20, 15))
    which, first = np.array([1, 0, 1, 0, 1]), np.array([15, 3, 57, 95, 155])
    begins = frame.timestamps[0] + first * frame.cadence_seconds
    minutes = (frame.timestamps - frame.timestamps[0]) // frame.cadence_seconds
    for link, begin, cut in zip(which, first, sequences.cut(which, begins, 9), strict=True):
        for minute, values in enumerate(cut, start=begin):
            rows = np.flatnonzero((frame.link == link) & (minutes == minute))
            np.testing.assert_array_equal(values, frame.values[rows[0]] if len(rows) else np.full(9, np.nan))
