"""Telemetry that the calendar cannot cut: long outages, drives, short recordings."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from frames import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.config import SplitConfig
from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.splitting import choose_split
from bwpredict.datasets.windows import PARTS, index_windows
from bwpredict.errors import TelemetryError

DAY = 1440
WINDOW, HORIZON = 20, 15


def chosen(frame, window_size=WINDOW, horizon_minutes=HORIZON):
    return choose_split(index_windows(frame, window_size, horizon_minutes), SplitConfig())


def rows_of(part):
    """Every row that a part's windows, or a stream over them, may look at."""
    sequences = Sequences.of(part)
    streams = [np.arange(first, past) for first, past in zip(sequences.first_row, sequences.past_row, strict=True)]
    windows = (part.starts[:, None] + np.arange(part.steps_to_target + 1)).reshape(-1)
    return np.unique(np.concatenate([windows, *streams]))


def assert_apart(split):
    """No row is in two parts, and on each link an earlier part comes first."""
    rows = [rows_of(split[name]) for name in PARTS if name in split.parts]
    for before, after in pairwise(rows):
        frame = split["train"].frame
        assert not np.intersect1d(before, after).size
        for link in np.intersect1d(frame.link[before], frame.link[after]):
            assert before[frame.link[before] == link].max() < after[frame.link[after] == link].min()
    assert all(len(part) for part in split.parts.values())


def drives(count=120, whole=41, seed=1):
    """Minutes of drives over a month, `whole` of which are longer than a window with its horizon."""
    generator = np.random.default_rng(seed)
    lengths = np.concatenate([generator.integers(40, 75, whole), generator.integers(5, 30, count - whole)])
    generator.shuffle(lengths)
    starts = np.sort(generator.choice(30 * 12, count, replace=False)) * 120
    return [list(range(start, start + length)) for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


def test_backbone_traffic_with_an_outage_of_eighteen_days_is_cut_by_its_samples():
    minutes = [*range(56 * DAY), *range(74 * DAY, 74 * DAY + 97_505 - 56 * DAY)]
    split = chosen(make_frame([minutes]))
    assert split.by == "samples"
    assert split.embargo_minutes == WINDOW + HORIZON
    assert_apart(split)
    shares = {name: len(part) / 97_505 for name, part in split.parts.items()}
    assert shares["train"] == pytest.approx(0.65, abs=0.01)
    assert shares["test"] == pytest.approx(0.15, abs=0.01)


def test_the_outage_is_no_matter_at_cadences_from_ten_seconds_to_fifteen_minutes():
    for cadence in (10, 300, 900):
        steps_a_day = 86_400 // cadence
        steps = [*range(20 * steps_a_day), *range(30 * steps_a_day, 34 * steps_a_day)]
        split = chosen(make_frame([steps], cadence_seconds=cadence))
        assert_apart(split)


def test_drives_of_one_car_are_cut():
    split = chosen(make_frame([[minute for drive in drives() for minute in drive]]))
    assert_apart(split)


def test_drives_that_are_links_of_their_own_go_whole_to_the_parts():
    some = drives()
    later = [[minute + 90 * DAY for minute in one] for one in some[:8]]  # after a pause: no part of the calendar fits
    split = chosen(make_frame([*some, *later]))
    assert split.by == "session"
    assert_apart(split)
    assert sum(len(part) for part in split.parts.values()) == len(index_windows(split["train"].frame, WINDOW, HORIZON))
    assert split.describe()["by"] == "session"


def test_sessions_of_one_car_some_minutes_apart_keep_the_embargo():
    """Where only whole sessions can be parted, what follows at once on an earlier part is left out."""
    sessions = [list(range(start, start + 60)) for start in (0, 62, 124, 186, 248)]
    split = chosen(make_frame([[minute for one in sessions for minute in one]]))
    assert_apart(split)
    times = split["train"].frame.timestamps
    parts = [split[name] for name in PARTS if name in split.parts]
    for before, after in pairwise(parts):
        last = times[before.starts + before.steps_to_target].max()
        assert times[after.starts].min() - last > split.embargo_minutes * 60


def test_a_recording_of_some_hours_is_cut_link_by_link():
    split = chosen(make_frame([list(range(180))] * 5))
    assert (split.by, split.embargo_minutes) == ("link", 0)
    assert_apart(split)


def test_a_refusal_says_what_was_found_what_is_needed_and_what_to_change():
    with pytest.raises(TelemetryError) as caught:
        chosen(make_frame([list(range(20)), list(range(50)), list(range(10))]))
    assert re.search(
        r"80 samples of 3 links in 3 stretches without a gap, the longest of 50 samples; 1 stretch has the 35 samples"
        r" \(35 minutes\).* 3 are needed; give more telemetry, or a smaller --window-size or --horizon-minutes",
        str(caught.value),
    )


def test_telemetry_without_a_window_is_refused_with_its_longest_stretch():
    with pytest.raises(TelemetryError) as caught:
        chosen(make_frame([[*range(30), *range(60, 80)]]))
    assert str(caught.value) == (
        "no link has a window: 50 samples of 1 link in 2 stretches without a gap, the longest of 30 samples; 0"
        " stretches have the 35 samples (35 minutes) of a window with its horizon, 3 are needed; give more telemetry,"
        " or a smaller --window-size or --horizon-minutes."
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 400), st.integers(1, 120)), min_size=1, max_size=8), min_size=1, max_size=5
    ),
    st.sampled_from([5, 20]),
)
def test_whatever_the_sessions_no_sample_is_in_two_parts(links, window_size):
    """Each link is a list of sessions: minutes since the last one, and its length."""
    minutes = []
    for sessions in links:
        at, own = 0, []
        for pause, length in sessions:
            own += range(at + pause, at + pause + length)
            at += pause + length
        minutes.append(own)
    try:
        split = chosen(make_frame(minutes), window_size, 5)
    except TelemetryError:
        return
    assert_apart(split)
