"""Windows as tensors, wherever their samples lie."""

import numpy as np
import torch
from frames import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.datasets.windows import index_windows
from bwpredict.training.batches import OnDevice, OnHost, samples_of

CPU = torch.device("cpu")
minutes_of_a_link = st.lists(st.integers(0, 200), min_size=60, max_size=150, unique=True).map(sorted)


@settings(max_examples=40, deadline=None)
@given(st.lists(minutes_of_a_link, min_size=1, max_size=3), st.integers(0, 4), st.integers(1, 12), st.data())
def test_windows_cut_on_the_device_are_those_cut_on_the_host(links, smoothing, horizon_minutes, data):
    index = index_windows(make_frame([[*minutes, *range(300, 340)] for minutes in links]), 5, horizon_minutes)
    which = np.array(data.draw(st.lists(st.integers(0, len(index) - 1), max_size=20)), dtype=np.int64)
    expected, found = (kind(index, CPU).load(which, smoothing) for kind in (OnHost, OnDevice))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_without_a_gpu_no_samples_are_copied():
    assert isinstance(samples_of(index_windows(make_frame([list(range(100))]), 20, 15), CPU), OnHost)
