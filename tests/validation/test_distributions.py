import itertools

from hypothesis import given
from hypothesis import strategies as st

from bwpredict.profiling.drift import DRAWN_BINS, distributions
from bwpredict.profiling.histogram import MAX_BIN, NEGATIVE

COUNTS = st.dictionaries(st.integers(NEGATIVE, MAX_BIN), st.integers(1, 1000), min_size=1, max_size=40)


def a_profile(counts):
    return {"numeric": {"rtt_ms": {"count": sum(counts.values()), "histogram": [*counts.items()]}}, "categorical": {}}


@given(COUNTS, COUNTS)
def test_every_sample_is_in_one_of_the_drawn_bins_and_they_follow_each_other(now, then):
    (drawn,) = distributions(["rtt_ms"], a_profile(now), a_profile(then))
    bins = drawn["bins"]
    assert len(bins) <= DRAWN_BINS + 1
    for side in ("now", "then"):
        assert len(drawn[side]) == len(bins)
        assert abs(sum(drawn[side]) - 1) < 1e-3
    assert all(one[1] == after[0] for one, after in itertools.pairwise(bins) if one != [0.0, 0.0])


def test_categories_stand_side_by_side_and_a_column_that_one_side_lacks_is_left_out():
    sides = [
        {"numeric": {}, "categorical": {"dwcp_mode": {"count": 4, "values": values}}}
        for values in ({"turbo": 4}, {"standard": 1, "turbo": 3})
    ]
    (drawn,) = distributions(["dwcp_mode", "region"], *sides)
    assert drawn == {"column": "dwcp_mode", "bins": ["standard", "turbo"], "now": [0, 1], "then": [0.25, 0.75]}
