import numpy as np
import pytest
import torch
from frames import whole_days
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bwpredict import schema
from bwpredict.errors import ModelError
from bwpredict.model import (
    Contract,
    Forecaster,
    GuideLayers,
    load_checkpoint,
    parameter_count,
    predict,
    save_checkpoint,
)
from bwpredict.windows import index_windows


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


def test_an_untrained_model_is_a_simple_baseline(model, windows):
    inputs = windows.inputs(slice(200))
    logs = np.log(inputs[..., :4] + model.offset.numpy())
    simple = np.stack((logs[:, -1], logs[:, -15:].mean(axis=1), np.median(logs[:, -15:], axis=1)), axis=1)
    weights = torch.softmax(model.blend_logits, 0).detach().numpy()
    expected = np.exp((simple * weights).sum(axis=1)) - model.offset.numpy()
    np.testing.assert_allclose(predict(model, inputs), expected, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, (3, 20, 9), elements=st.floats(0, 2.0**100, width=32)))
def test_any_window_gets_a_finite_forecast_within_physical_bounds(model, raw):
    forecast = predict(model, raw)
    assert np.isfinite(forecast).all()
    assert (forecast >= 0).all()
    assert (forecast[:, schema.TARGETS.index("packet_loss")] <= 1).all()


def test_a_checkpoint_gives_the_same_forecasts(model, windows, tmp_path):
    save_checkpoint(model, tmp_path / "best_model.pth", {"epoch": 1})
    inputs = windows.inputs(slice(50))
    np.testing.assert_array_equal(predict(load_checkpoint(tmp_path / "best_model.pth"), inputs), predict(model, inputs))


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint ran code",))


@pytest.mark.parametrize("content", ["pickle", "garbage", "empty", "other"])
def test_a_file_that_is_no_checkpoint_is_refused_and_never_run(content, tmp_path):
    path = tmp_path / "best_model.pth"
    if content == "pickle":
        torch.save({"contract": Payload()}, path)
    elif content == "other":
        torch.save({"contract": {"window_size": 20}, "state": {}}, path)
    else:
        path.write_bytes(b"not a checkpoint" if content == "garbage" else b"")
    with pytest.raises(ModelError, match=r"best_model\.pth: not a checkpoint"):
        load_checkpoint(path)
