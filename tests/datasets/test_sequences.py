"""Telemetry as one sequence for each link."""

import numpy as np
from frames import make_frame

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
