"""What a trained model serves of what it learnt: as much as validation is sure of."""

import numpy as np
import pytest
import torch
from frames import whole_days

from bwpredict.datasets.windows import index_windows
from bwpredict.models.network import ANCHORS, Contract, Forecaster, predict
from bwpredict.training.post_fit import USUAL_QUANTILE, bound_members_difference, choose_served_anchor

RAW_ERROR_SHARE = 0.4
LEVELS = np.array([100, 20, 0.002, 2])


def telemetry(wander):
    """`wander` [rows, targets] in log space, around usual levels."""
    frame = whole_days(3, links=1)
    frame.values[:, :4] = np.exp(wander(np.random.default_rng(5), (frame.rows, 4))) * LEVELS
    return index_windows(frame, 20, 15)


def forecasts(model, index):
    return predict(model, index.inputs())


@pytest.fixture(scope="module")
def noise():
    """Nothing but the usual level can be known."""
    return telemetry(lambda rng, shape: 0.3 * rng.normal(size=shape))


@pytest.fixture(scope="module")
def walk():
    """Nothing but the last value can be known."""
    return telemetry(lambda rng, shape: 0.02 * np.cumsum(rng.normal(size=shape), axis=0))


@pytest.fixture
def model(noise):
    model = Forecaster(Contract(), "dense")
    model.fit_transforms(torch.from_numpy(noise.inputs()), torch.from_numpy(noise.targets()))
    return model.eval()


def test_a_target_of_which_nothing_is_confirmed_is_served_by_the_simple_forecast_that_validation_asks_for(model, walk):
    model.change_share.copy_(torch.tensor([0.0, 0.0, 0.0, 0.5]))
    anchor, before = model.anchor_weights.clone(), forecasts(model, walk)
    choose_served_anchor(model, walk, RAW_ERROR_SHARE)
    assert (model.served_anchor_weights[ANCHORS.index("last_value"), :3] >= 0.9).all()
    torch.testing.assert_close(model.served_anchor_weights[:, 3], anchor[:, 3])
    torch.testing.assert_close(model.anchor_weights, anchor)
    last_value = walk.inputs()[:, -1, :3]
    np.testing.assert_allclose(forecasts(model, walk)[:, :3], last_value, rtol=0.2)
    np.testing.assert_array_equal(forecasts(model, walk)[:, 3], before[:, 3])


def test_the_anchor_is_served_where_validation_is_not_sure_of_a_better_one(model, noise):
    model.change_share.zero_()
    choose_served_anchor(model, noise, RAW_ERROR_SHARE)
    torch.testing.assert_close(model.served_anchor_weights, model.anchor_weights)


def test_the_largest_difference_is_that_of_nearly_all_validation_windows(model, noise):
    for member in model.highway.members:
        torch.nn.init.normal_(member.output.weight)
    with torch.no_grad():
        bound_members_difference(model, noise)
        differences = model.members_difference(torch.from_numpy(noise.inputs())).abs()
    within = (differences <= model.highway.largest_difference).float().mean(dim=0)
    torch.testing.assert_close(within, torch.full((4,), USUAL_QUANTILE), atol=0.001, rtol=0)
