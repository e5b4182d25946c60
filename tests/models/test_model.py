import numpy as np
import pytest
import torch
from frames import whole_days
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bwpredict import schema
from bwpredict.datasets.windows import index_windows
from bwpredict.errors import ModelError
from bwpredict.models.layers import ARCHITECTURES, GuideLayers
from bwpredict.models.network import Contract, Forecaster, load_checkpoint, parameter_count, predict, save_checkpoint


@pytest.fixture(scope="module")
def windows():
    return index_windows(whole_days(2), 20, 15)


@pytest.fixture(scope="module")
def model(windows):
    torch.manual_seed(0)
    model = Forecaster(Contract())
    model.fit_transforms(torch.from_numpy(windows.inputs()), torch.from_numpy(windows.targets()))
    return model.eval()


def test_the_guides_layers_hold_540516_parameters_with_nine_inputs():
    assert parameter_count(GuideLayers(9)) == 540_516


def test_a_model_whose_change_is_not_confirmed_is_a_blend_of_simple_baselines(model, windows):
    shy = Forecaster(Contract())
    shy.load_state_dict(model.state_dict())
    shy.change_share.zero_()
    inputs = windows.inputs(slice(200))
    logs = np.log(inputs[..., :4] + model.offset.numpy())
    recent = logs[:, -15:]
    usual = np.broadcast_to(model.usual_level.numpy(), logs[:, -1].shape)
    means, medians = (recent.mean(axis=1), logs.mean(axis=1)), (np.median(recent, axis=1), np.median(logs, axis=1))
    simple = (logs[:, -1], means[0], medians[0], means[1], medians[1], usual)
    expected = np.exp((np.stack(simple, axis=1) * model.anchor_weights.numpy()).sum(axis=1)) - model.offset.numpy()
    np.testing.assert_allclose(predict(shy.eval(), inputs), expected, rtol=1e-4)


def test_the_anchor_is_a_blend_of_at_most_two_simple_forecasts(model):
    weights = model.anchor_weights.numpy()
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)
    assert ((weights >= 0).all(axis=0) & ((weights > 0).sum(axis=0) <= 2)).all()


def test_the_guides_layers_change_nothing_before_they_are_trained(model, windows):
    dense = Forecaster(Contract(), "dense")
    dense.load_state_dict(model.state_dict(), strict=False)
    inputs = windows.inputs(slice(200))
    np.testing.assert_allclose(predict(dense.eval(), inputs), predict(model, inputs), rtol=1e-5)


def test_a_window_unlike_any_in_training_cannot_make_the_change_explode(model, windows):
    inputs = windows.inputs(slice(50)) * np.float32(1e6)
    logs = model.in_log_space(torch.from_numpy(inputs))
    forecast = model.in_log_space(torch.from_numpy(predict(model, inputs)))
    change = (forecast - model.anchor(logs)) / model.typical_change
    loss = schema.TARGETS.index("packet_loss")  # cut at 1
    kept = [place for place in range(4) if place != loss]
    assert (change <= model.change_bounds[1] + 0.05)[:, kept].all()
    assert (change >= model.change_bounds[0] - 0.05)[:, kept].all()


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (3, 20, 9), elements=st.floats(0, 2.0**100, width=32)))
def test_any_window_gets_a_finite_forecast_within_physical_bounds(model, raw):
    forecast = predict(model, raw)
    assert np.isfinite(forecast).all()
    assert (forecast >= 0).all()
    assert (forecast[:, schema.TARGETS.index("packet_loss")] <= 1).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_gives_the_same_forecasts(architecture, windows, tmp_path):
    torch.manual_seed(1)
    model = Forecaster(Contract(), architecture)
    model.fit_transforms(torch.from_numpy(windows.inputs()), torch.from_numpy(windows.targets()))
    save_checkpoint(model.eval(), tmp_path / "best_model.pth", {"epoch": 1})
    loaded = load_checkpoint(tmp_path / "best_model.pth")
    inputs = windows.inputs(slice(50))
    assert loaded.architecture == architecture
    np.testing.assert_array_equal(predict(loaded, inputs), predict(model, inputs))


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


@pytest.mark.parametrize("content", ["pickle", "garbage", "empty", "other"])
def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(content, tmp_path):
    path = tmp_path / "best_model.pth"
    if content == "pickle":
        torch.save({"contract": Payload()}, path)
    elif content == "other":
        torch.save({"contract": {"window_size": 20}, "architecture": "guide", "state": {}}, path)
    else:
        path.write_bytes(b"not a checkpoint" if content == "garbage" else b"")
    with pytest.raises(ModelError, match=r"best_model\.pth: not a checkpoint"):
        load_checkpoint(path)
