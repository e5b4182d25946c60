"""The windows of an epoch: a budget, stratified over links, hours and congestion."""

from __future__ import annotations

import numpy as np
import pytest
from frames import make_frame, whole_days
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict import schema
from bwpredict.datasets.sampling import sample_windows
from bwpredict.datasets.windows import index_windows

QUEUE, HOUR = (schema.FEATURES.index(name) for name in ("queue_depth", "time_of_day"))


@pytest.fixture(scope="module")
def index():
    """Five links of three days; the queue is long in one minute of 50."""
    frame = whole_days(3, links=5)
    frame.values[:, QUEUE] = np.where(np.random.default_rng(0).random(frame.rows) < 0.02, 900, 3)
    return index_windows(frame, 20, 15)


def shares(index, chosen, of):
    """{value: share} of `of(frame, rows)` at the last sample of each window."""
    rows = index.starts[chosen] + index.window_size - 1
    values, counts = np.unique(of(index.frame, rows), return_counts=True)
    return dict(zip(values.tolist(), (counts / len(rows)).tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(35, 300), min_size=1, max_size=6), st.data())
def test_a_draw_has_the_asked_number_of_windows_each_at_most_once(lengths, data):
    index = index_windows(make_frame([list(range(length)) for length in lengths]), 20, 15)
    budget = data.draw(st.integers(1, len(index)))
    chosen = sample_windows(index, budget, data.draw(st.sampled_from(["uniform", "stratified"])), seed=1, epoch=2)
    assert len(chosen) == len(set(chosen.tolist())) == budget
    assert 0 <= chosen.min() <= chosen.max() < len(index)


def test_a_budget_of_all_windows_is_a_permutation(index):
    chosen = sample_windows(index, len(index), "stratified", seed=1, epoch=1)
    assert sorted(chosen.tolist()) == list(range(len(index)))
    assert chosen.tolist() != sorted(chosen.tolist())


def test_seed_and_epoch_alone_decide_the_draw(index):
    first = sample_windows(index, 500, "stratified", seed=1, epoch=1).tolist()
    assert sample_windows(index, 500, "stratified", seed=1, epoch=1).tolist() == first
    assert sample_windows(index, 500, "stratified", seed=1, epoch=2).tolist() != first
    assert sample_windows(index, 500, "stratified", seed=2, epoch=1).tolist() != first


@pytest.mark.parametrize(
    ("of", "within"),
    [
        (lambda frame, rows: frame.link[rows], 0.004),
        (lambda frame, rows: frame.values[rows, HOUR], 0.004),
        (lambda frame, rows: frame.values[rows, QUEUE] > 500, 0.004),
    ],
    ids=["links", "hours", "congestion"],
)
def test_every_epoch_has_the_mixture_of_the_whole(index, of, within):
    everything = shares(index, np.arange(len(index)), of)
    for epoch in range(5):
        drawn = shares(index, sample_windows(index, 2000, "stratified", seed=3, epoch=epoch), of)
        assert drawn.keys() == everything.keys()
        assert max(abs(drawn[value] - everything[value]) for value in everything) < within


def test_a_link_with_half_of_all_rows_gets_no_more_than_the_others():
    frame = make_frame([list(range(40_000)), *[list(range(5_000))] * 8])
    index = index_windows(frame, 20, 15)
    drawn = shares(
        index, sample_windows(index, 3_000, "stratified", seed=1, epoch=1), lambda frame, rows: frame.link[rows]
    )
    assert drawn == pytest.approx(dict.fromkeys(range(9), 1 / 9), abs=0.005)


def test_a_short_link_is_not_repeated_to_make_up_for_its_length():
    index = index_windows(make_frame([list(range(40)), list(range(20_000))]), 20, 15)
    chosen = sample_windows(index, 1_000, "stratified", seed=1, epoch=1)
    assert 0 < (chosen < 6).sum() <= 6
