"""The benchmark's intervals against a scalar version of themselves."""

import numpy as np
import pytest
from accuracy.blocks import DRAWS, blocks_of, difference_interval, skill_interval
from frames import make_frame, whole_days

from bwpredict.datasets.windows import index_windows


@pytest.fixture(scope="module")
def index():
    return index_windows(whole_days(2), 20, 15).spread(400)


@pytest.fixture(scope="module")
def blocks(index):
    return blocks_of(index)


def test_intervals_are_those_of_windows_drawn_block_by_block(blocks):
    generator = np.random.default_rng(3)
    ours, theirs = generator.exponential(size=(2, len(blocks.code)))
    theirs[::7] = np.nan
    both = np.isfinite(theirs)
    differences, skills = [], []
    drawn_blocks = np.random.default_rng(0).integers(blocks.count, size=(DRAWS, blocks.count))
    for chosen in drawn_blocks:
        weights = np.bincount(chosen, minlength=blocks.count)
        drawn = np.repeat(np.arange(len(ours)), weights[blocks.code])
        drawn = drawn[both[drawn]]
        differences.append((ours[drawn] - theirs[drawn]).mean())
        skills.append(1 - ours[drawn].mean() / theirs[drawn].mean())
    for interval, expected in (
        (difference_interval(blocks, ours, theirs), differences),
        (skill_interval(blocks, ours, theirs), skills),
    ):
        np.testing.assert_allclose([interval.low, interval.high], np.percentile(expected, [2.5, 97.5]))
    assert difference_interval(blocks, ours, theirs).estimate == pytest.approx((ours - theirs)[both].mean())


def test_the_same_errors_differ_by_nothing_and_have_no_skill(blocks):
    errors = np.random.default_rng(1).exponential(size=len(blocks.code))
    for interval in (difference_interval(blocks, errors, errors), skill_interval(blocks, errors, errors)):
        assert (interval.estimate, interval.low, interval.high) == (0, 0, 0)


def test_windows_that_hang_together_make_the_interval_wider(blocks):
    generator = np.random.default_rng(2)
    together = generator.normal(size=blocks.count)[blocks.code]
    alone = generator.permutation(together)
    widths = [
        interval.high - interval.low
        for interval in (difference_interval(blocks, each, np.zeros_like(each)) for each in (together, alone))
    ]
    assert widths[0] > 1.5 * widths[1]


def test_no_skill_over_a_perfect_baseline():
    blocks = blocks_of(index_windows(make_frame([list(range(200))]), 20, 15))
    assert not skill_interval(blocks, np.ones(len(blocks.code)), np.zeros(len(blocks.code))).finite
