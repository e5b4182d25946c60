"""The confidence that a consumer derives from an interval."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bwpredict import schema
from bwpredict.inference.confidence import FORMULA, confidence, overall_confidence

SIZES = arrays(np.float32, (5, 4), elements=st.floats(0, 2.0**40, width=32))
ANYTHING = arrays(np.float32, (5, 4), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


def test_it_is_the_formula():
    output, lower, upper = (
        np.array([[100.0, 20, 0, 2]]),
        np.array([[50.0, 20, 0, 1]]),
        np.array([[150.0, 20, 0.002, 5]]),
    )
    floor = schema.MAPE_FLOORS["packet_loss"]
    expected = [1 / (1 + 50 / 100), 1, 1 / (1 + 0.001 / floor), 1 / (1 + 2 / 2)]
    np.testing.assert_allclose(confidence(output, lower, upper), [expected])
    assert overall_confidence(output, lower, upper) == pytest.approx(np.mean(expected))
    assert "1 / (1 + half_width / max(|output|, floor))" in FORMULA


@given(ANYTHING, ANYTHING, ANYTHING)
def test_whatever_comes_it_lies_within_zero_and_one(output, lower, upper):
    for figures in (confidence(output, lower, upper), overall_confidence(output, lower, upper)):
        assert ((figures >= 0) & (figures <= 1)).all()


@given(SIZES, SIZES, SIZES, SIZES, SIZES)
def test_a_wider_interval_around_the_same_forecast_never_gives_more_confidence(output, below, above, less, more):
    inner = output - below, output + above
    outer = inner[0] - less, inner[1] + more
    assert (confidence(output, *outer) <= confidence(output, *inner)).all()
    assert (overall_confidence(output, *outer) <= overall_confidence(output, *inner)).all()


def test_a_really_wider_interval_gives_really_less():
    output = np.full((1, 4), 10.0)
    figures = [confidence(output, output - width, output + width)[0] for width in (0, 0.1, 1, 10, 1000)]
    assert (np.diff(figures, axis=0) < 0).all()


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_cannot_be_told_is_no_confidence_and_none_overall(place, value):
    values = [np.full((1, 4), 10.0), np.full((1, 4), 9.0), np.full((1, 4), 11.0)]
    values[place][0, 2] = value
    figures = confidence(*values)[0]
    assert figures[2] == 0
    assert (figures[[0, 1, 3]] > 0.9).all()
    assert overall_confidence(*values) == [0]


@pytest.mark.parametrize(("lower", "upper"), [(11.0, 12.0), (8.0, 9.0), (11.0, 9.0)])
def test_an_interval_that_does_not_hold_its_forecast_gives_none(lower, upper):
    assert not confidence(np.full((1, 4), 10.0), np.full((1, 4), lower), np.full((1, 4), upper)).any()


def test_a_consumer_needs_no_torch():
    program = "import sys, bwpredict.inference.confidence; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
