import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.core.parts import ascending

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=6)


@given(rows)
def test_rows_are_ascending_if_sorting_them_changes_nothing(pairs):
    columns = [np.array([pair[place] for pair in pairs]) for place in (0, 1)]
    assert ascending(columns) is (pairs == sorted(pairs))
    assert ascending(columns, strictly=True) is (pairs == sorted(set(pairs)))


def test_rows_with_nan_are_in_no_order():
    assert not ascending([np.array([1.0, np.nan, 2.0])])
