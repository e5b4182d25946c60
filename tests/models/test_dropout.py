"""Dropout by draws of 16 bits: as torch's own, in less time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.models.layers import dropped


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.integers(1, 7))
def test_every_value_is_zero_or_scaled_up_and_the_seed_decides_which(seed, share, columns):
    values = torch.rand(50, columns) + 1

    def drop():
        torch.manual_seed(seed)
        return dropped(values, share, training=True)

    out = drop()
    kept = out != 0
    torch.testing.assert_close(out[kept], (values / (1 - share))[kept])
    assert torch.equal(out, drop())


@pytest.mark.parametrize("share", [0.05, 0.2, 0.3, 0.5, 0.9])
def test_the_share_is_met_whichever_bits_of_a_draw_decide(share):
    torch.manual_seed(3)
    kept = dropped(torch.ones(250_000, 4), share, training=True) != 0
    torch.testing.assert_close(kept.float().mean(dim=0), torch.full((4,), 1 - share), atol=0.005, rtol=0)
    together = (kept[:, 0] & kept[:, 1]).float().mean()
    assert float(together) == pytest.approx((1 - share) ** 2, abs=0.005)


def test_gradients_pass_where_values_do_and_nothing_is_dropped_outside_of_training():
    values = torch.rand(64, 5, requires_grad=True)
    out = dropped(values, 0.4, training=True)
    out.sum().backward()
    torch.testing.assert_close(values.grad, (out != 0).float() / 0.6)
    assert torch.equal(dropped(values, 0.4, training=False), values)
    assert torch.equal(dropped(values, 0.0, training=True), values)
