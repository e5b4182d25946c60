"""What is measured of each link does not depend on the order of the rows, nor on the path for rows in order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.datasets.anomalies import levels_of_rows, merge_levels


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(1, 90))
def test_the_levels_of_rows_in_order_are_those_of_shuffled_rows(seed, links, minutes):
    random = np.random.default_rng(seed)
    node, minute = (each.ravel() for each in np.meshgrid(np.arange(links), np.arange(minutes), indexing="ij"))
    time, values = minute * 60 - 1800, random.random((len(node), 4)).round(1)
    order = np.argsort(time // 3600, kind="stable")
    shuffled = random.permutation(len(node))
    one, other = (
        merge_levels(levels_of_rows(time[rows], node[rows], node[rows] + 7, values[rows], 3600))
        for rows in (order, shuffled)
    )
    assert (one.links, one.starts) == (other.links, other.starts)
    for name in ("samples", "minimum", "maximum", "quartiles"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
