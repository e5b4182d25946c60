"""The dense nets of the highway: trained each by itself, one of them on levels that it must not trust."""

import pytest
import torch
from frames import whole_days

from bwpredict.datasets.windows import index_windows
from bwpredict.models.layers import KNOWING_SHARE
from bwpredict.models.network import Contract, Forecaster
from bwpredict.training.loss import BatchLoss, importance

WEIGHTS = torch.full((4,), 0.25)


@pytest.fixture(scope="module")
def index():
    return index_windows(whole_days(2), 20, 15)


@pytest.fixture
def model(index):
    """With weights as if trained: the members differ, and depend on all that they are given."""
    torch.manual_seed(0)
    model = Forecaster(Contract(), "dense")
    model.fit_transforms(torch.from_numpy(index.inputs()), torch.from_numpy(index.targets()))
    for member in model.highway.members:
        torch.nn.init.normal_(member.output.weight)
    return model


@pytest.fixture
def windows(index):
    return torch.from_numpy(index.inputs(slice(64)))


def test_a_forecast_for_familiar_levels_adds_the_mean_of_what_the_members_add(model, windows):
    model.familiar_within.fill_(1e9)
    anchor, changes = model.train().anchor_and_changes(windows)
    same_anchor, change = model.eval().anchor_and_change(windows)
    torch.testing.assert_close(anchor, same_anchor)
    torch.testing.assert_close(KNOWING_SHARE * changes[0] + (1 - KNOWING_SHARE) * changes[1], change)
    assert (changes[0] - changes[-1]).abs().max() > 0.1


def test_no_member_moves_the_last_one_s_forecast_further_than_the_largest_difference(model, windows):
    model.familiar_within.fill_(1e9)
    _, changes = model.train().anchor_and_changes(windows)
    difference = changes[0] - changes[-1]
    bound = difference.abs().median(dim=0).values
    model.highway.largest_difference.copy_(bound)
    torch.testing.assert_close(model.eval().members_difference(windows), difference)
    _, change = model.anchor_and_change(windows)
    torch.testing.assert_close(change, changes[-1] + KNOWING_SHARE * difference.clamp(-bound, bound))


def test_doubt_moves_what_the_last_member_adds_for_about_that_share_of_the_windows_and_no_other_member(model, windows):
    _, trusting = model.train().anchor_and_changes(windows)
    model.doubted_share = 0.5
    _, doubting = model.anchor_and_changes(windows)
    torch.testing.assert_close(doubting[:-1], trusting[:-1])
    moved = ((doubting[-1] - trusting[-1]).abs() > 1e-4).any(dim=1).float().mean()
    assert 0.3 < moved < 0.7


def test_drift_moves_the_levels_of_all_members_but_the_last_where_there_is_any(model, windows):
    _, still = model.train().anchor_and_changes(windows)
    model.drift_scale = 1.0
    torch.testing.assert_close(model.anchor_and_changes(windows)[1], still)
    model.level_drift.fill_(0.1)
    _, drifting = model.anchor_and_changes(windows)
    assert ((drifting - still).abs().amax(dim=(1, 2)) > 1e-4).tolist() == [True, False]
    model.drift_scale = 0.0
    torch.testing.assert_close(model.anchor_and_changes(windows)[1], still)


def test_a_model_that_serves_neither_doubts_nor_drifts_nor_drops(model, windows):
    model.doubted_share, model.highway.dropout, model.drift_scale = 1.0, 0.5, 1.0
    model.level_drift.fill_(0.1)
    first, second = model.eval()(windows), model(windows)
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_loss_of_training_is_that_of_the_members_one_by_one(model, index):
    inputs, targets = torch.from_numpy(index.inputs(slice(64))), torch.from_numpy(index.targets(slice(64)))
    loss = BatchLoss(model.train(), WEIGHTS)(inputs, targets)
    anchor, changes = model.anchor_and_changes(inputs)
    wanted = (model.in_log_space(targets) - anchor) / model.typical_change
    torch.testing.assert_close(loss, (changes - wanted).abs().mean())
    assert loss > BatchLoss(model.eval(), WEIGHTS)(inputs, targets)  # a mean of forecasts errs less than they do


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_importance_is_1_on_average_and_as_uneven_as_the_share_of_raw_errors(model, windows, index, share):
    anchor, _ = model.eval().anchor_and_change(torch.from_numpy(index.inputs()))
    counted = importance(model, anchor, share)
    torch.testing.assert_close(counted.mean(dim=0), torch.ones(4), rtol=1e-3, atol=0)
    level = torch.exp(anchor) / torch.exp(anchor).mean(dim=0)
    torch.testing.assert_close(counted - 1, share * (level - 1), rtol=1e-3, atol=1e-4)


def test_where_training_saw_such_levels_all_members_are_trusted_and_where_it_did_not_the_last_one_alone(
    model, windows, index
):
    stranger = windows.clone()
    stranger[..., :4] *= torch.tensor([50.0, 30.0, 20.0, 40.0])
    model.eval()
    known = torch.from_numpy(index.inputs())
    trusts = [model.trust(model.anchor(model.in_log_space(each))) for each in (known, stranger)]
    assert (trusts[0] > 0).float().mean() > 0.98
    assert (trusts[0] == 1).float().mean() > 0.75
    assert trusts[1].max() == 0
    _, changes = model.train().anchor_and_changes(stranger)
    _, change = model.eval().anchor_and_change(stranger)
    torch.testing.assert_close(change, changes[-1])
