import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bwpredict.core import encoding

WINDOWS = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 3)),
                 elements=st.floats(-100, 100, width=32))  # fmt: skip


@given(WINDOWS)
def test_the_median_is_numpys(values):
    expected = np.median(values, axis=1)
    np.testing.assert_allclose(encoding.median(torch.from_numpy(values)), expected, rtol=1e-5, atol=1e-5)


@given(WINDOWS)
def test_ordering_keeps_every_value(values):
    ordered = encoding.ordered(torch.from_numpy(values)).numpy()
    np.testing.assert_array_equal(ordered, -np.sort(-values, axis=1))


@given(arrays(np.float32, st.tuples(st.integers(2, 50), st.integers(1, 3)), elements=st.floats(-9, 9, width=32)))
def test_bins_fill_up_with_the_level_and_are_finite_for_any_levels(levels):
    edges = encoding.bin_edges(torch.from_numpy(levels), 8)
    filled = encoding.piecewise_linear(torch.from_numpy(levels), edges).numpy().reshape(len(levels), -1, 8)
    assert np.isfinite(filled).all()
    assert ((filled >= 0) & (filled <= 1)).all()
    order = np.argsort(levels[:, 0], kind="stable")
    assert (np.diff(filled[order, 0].sum(axis=-1)) >= -1e-5).all()


def test_two_close_levels_are_told_apart():
    levels = torch.linspace(0, 1, 10_001)[:, None]
    edges = encoding.bin_edges(levels, 48)
    close = torch.tensor([[0.5], [0.501]])
    one, other = encoding.piecewise_linear(close, edges)
    assert (one - other).abs().sum() > 0.04
