import numpy as np
import pytest
from scipy.optimize import linprog

from bwpredict.models import least_absolute


def rows(n=2000, columns=6, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, columns)).astype(np.float32), generator


def exact_error(inputs, target):
    """The least mean absolute error there is, by linear programming."""
    n, columns = inputs.shape
    design = np.c_[inputs, np.ones(n)]
    cost = np.r_[np.zeros(columns + 1), np.ones(2 * n)]
    equal = np.hstack([design, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * (columns + 1) + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=equal, b_eq=target, bounds=bounds).fun / n


def test_it_comes_close_to_the_least_absolute_error_there_is():
    inputs, generator = rows(n=400)
    target = inputs @ np.arange(6) + generator.standard_t(1.5, size=400)
    weights, bias = least_absolute.fit(inputs, target[:, None].astype(np.float32))
    error = np.abs(target - inputs @ weights[0] - bias[0]).mean()
    assert error <= 1.02 * exact_error(inputs, target)


def test_gross_outliers_do_not_move_it():
    inputs, generator = rows()
    target = inputs @ np.arange(6) + 0.1 * generator.normal(size=2000)
    target[::50] += 1000
    weights, _ = least_absolute.fit(inputs, target[:, None].astype(np.float32))
    np.testing.assert_allclose(weights[0], np.arange(6), atol=0.05)


def test_where_nothing_can_be_learnt_the_weights_are_zero():
    inputs, generator = rows()
    noise = generator.normal(size=(2000, 1)).astype(np.float32)
    weights, bias = least_absolute.fit(inputs, noise)
    assert np.abs(weights).max() < 0.05
    assert np.abs(bias).max() < 0.1


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_columns_without_information_do_no_harm(constant):
    inputs, _ = rows()
    inputs[:, 2] = constant
    weights, bias = least_absolute.fit(inputs, inputs[:, :1] * 2)
    assert np.isfinite(weights).all()
    assert np.isfinite(bias).all()
    assert weights[0, 0] == pytest.approx(2, abs=0.02)
