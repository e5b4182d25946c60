"""What consumers get: forecast and bounds from one graph, in order, whatever comes in."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from frames import whole_days
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bwpredict import schema
from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.documents import write_document
from bwpredict.errors import ModelError
from bwpredict.inference.onnx_model import forecast, forecast_with_bounds
from bwpredict.models.intervals import Intervals, Served, attach, calibrate, load_served
from bwpredict.models.network import Contract, Forecaster, load_checkpoint, predict, save_checkpoint
from bwpredict.models.onnx_export import check_export, export_onnx, extreme_windows, model_properties


@pytest.fixture(scope="module")
def split():
    return split_windows(index_windows(whole_days(6, links=1), 20, 15), SplitConfig())


@pytest.fixture(scope="module")
def model(split):
    torch.manual_seed(0)
    model = Forecaster(Contract())
    sample = split["train"].spread(2000)
    model.fit_transforms(torch.from_numpy(sample.inputs()), torch.from_numpy(sample.targets()))
    torch.nn.init.normal_(model.layers.output.weight, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def served(model, split):
    return Served(model, calibrate(model, split)).eval()


@pytest.fixture(scope="module")
def exported(served, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return export_onnx(served, path, model_properties(served, version="v20261101_000000", snapshot_id="abc"))


def assert_in_order(found):
    assert all(np.isfinite(values).all() for values in found.values())
    assert (found["lower"] <= found["output"]).all()
    assert (found["output"] <= found["upper"]).all()
    assert (found["lower"] >= 0).all()
    assert (found["upper"][:, schema.TARGETS.index("packet_loss")] <= 1).all()


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (3, 20, 9), elements=st.floats(0, 2.0**100, width=32)))
def test_whatever_the_window_the_forecast_lies_within_finite_possible_bounds(served, raw):
    assert_in_order(served.predict(raw))


@pytest.mark.parametrize(("lower", "upper"), [(-2, -1), (1, 2), (2, -2), (-1e9, 1e9), (0, 0)])
def test_the_order_is_kept_even_by_quantiles_on_the_wrong_side(model, served, split, lower, upper):
    wrong = Intervals()
    wrong.load_state_dict(served.intervals.state_dict())
    wrong.lower_quantile.fill_(lower)
    wrong.upper_quantile.fill_(upper)
    assert_in_order(Served(model, wrong).predict(split["test"].spread(50).inputs()))


def test_the_forecast_is_that_of_the_model_without_intervals(model, served, split):
    inputs = split["test"].spread(50).inputs()
    np.testing.assert_array_equal(served.predict(inputs)["output"], predict(model, inputs))
    assert Served(model).predict(inputs).keys() == {"output"}


def test_a_checkpoint_carries_the_intervals_and_still_loads_as_a_model(model, served, split, tmp_path):
    path = tmp_path / "best_model.pth"
    save_checkpoint(model, path, {"epoch": 3})
    assert load_served(path).outputs == ("output",)
    attach(path, served.intervals)
    inputs = split["test"].spread(50).inputs()
    again = load_served(path)
    for name, values in served.predict(inputs).items():
        np.testing.assert_array_equal(again.predict(inputs)[name], values)
    assert again.intervals.document() == served.intervals.document()
    np.testing.assert_array_equal(predict(load_checkpoint(path), inputs), predict(model, inputs))
    assert torch.load(path, weights_only=True)["epoch"] == 3
    attach(path, None)
    assert load_served(path).intervals is None


@pytest.mark.parametrize("stored", [{}, {"level": "x"}, {"level": 0.9, "calibration_windows": 1, "state": {}}, [1]])
def test_intervals_that_are_none_are_refused_by_name(model, tmp_path, stored):
    path = tmp_path / "best_model.pth"
    save_checkpoint(model, path, {"intervals": stored})
    with pytest.raises(ModelError, match=r"best_model\.pth: its intervals"):
        load_served(path)


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_onnx_runtime_agrees_with_torch_on_every_output_at_any_batch_size(served, exported, split, batch):
    session = ort.InferenceSession(exported)
    windows = split["test"].spread(64).inputs()
    for inputs in (windows[:batch], *extreme_windows(windows).values()):
        found = dict(zip(served.outputs, session.run(list(served.outputs), {"input": inputs}), strict=True))
        assert_in_order(found)
        for name, values in served.predict(inputs).items():
            np.testing.assert_allclose(found[name], values, rtol=3e-4, atol=1e-5)


def test_the_outputs_are_those_of_the_contract_and_output_alone_can_be_asked_for(served, exported, split):
    session = ort.InferenceSession(exported)
    names = [(output.name, output.type, output.shape[1:]) for output in session.get_outputs()]
    assert names == [(name, "tensor(float)", [4]) for name in ("output", "lower", "upper")]
    inputs = split["test"].spread(5).inputs()
    (alone,) = session.run(["output"], {"input": inputs})
    np.testing.assert_allclose(alone, served.predict(inputs)["output"], rtol=1e-4)


def test_a_consumer_in_a_fresh_process_gets_the_same_bounds(served, exported, split, tmp_path):
    inputs = split["test"].spread(20).inputs()
    np.save(tmp_path / "in.npy", inputs)
    program = (
        "import sys, numpy as np, onnxruntime as ort\n"
        "values = ort.InferenceSession(sys.argv[1]).run(['lower', 'upper'], {'input': np.load(sys.argv[2])})\n"
        "np.savez(sys.argv[3], lower=values[0], upper=values[1])\n"
    )
    command = [sys.executable, "-c", program, str(exported), str(tmp_path / "in.npy"), str(tmp_path / "out.npz")]
    subprocess.run(command, check=True)
    expected = served.predict(inputs)
    with np.load(tmp_path / "out.npz") as found:
        for name in schema.INTERVAL_OUTPUTS:
            np.testing.assert_allclose(found[name], expected[name], rtol=3e-4, atol=1e-6)


def test_the_parity_document_is_about_every_output_and_their_order(served, exported, split, tmp_path):
    parity, _ = check_export(served, exported, split["test"].spread(32).inputs())
    write_document(tmp_path / "parity.json", "parity", parity)
    assert parity["order_kept"] is True
    assert parity["bounds_kept"]
    assert parity["all_finite"]
    assert parity["outputs"].keys() == {"output", "lower", "upper"}
    assert max(parity["outputs"].values()) == parity["max_relative_error"] < parity["tolerance"]
    assert parity["batch_sizes"] == [1, 3, 37]


def test_the_parity_check_sees_a_file_with_other_bounds(model, served, exported, split):
    other = Intervals()
    other.load_state_dict(served.intervals.state_dict())
    other.upper_quantile.mul_(1.1)
    parity, _ = check_export(Served(model, other), exported, split["test"].spread(8).inputs())
    assert parity["outputs"]["upper"] > parity["tolerance"] > parity["outputs"]["output"]
    assert parity["max_relative_error"] > parity["tolerance"]


def changed(path, exported, *, outputs=("output", "lower", "upper"), level="0.9"):
    """The exported file with these of its outputs and this level only."""
    document = onnx.load(exported)
    kept = [output for output in document.graph.output if output.name in outputs]
    del document.graph.output[:]
    document.graph.output.extend(kept)
    properties = [entry for entry in document.metadata_props if entry.key != "interval_level"]
    del document.metadata_props[:]
    document.metadata_props.extend(properties)
    if level is not None:
        document.metadata_props.add(key="interval_level", value=level)
    onnx.save(document, path)
    return path


def test_a_file_without_the_models_bounds_is_refused_by_the_parity_check(model, served, exported, split, tmp_path):
    path = changed(tmp_path / "bare.onnx", exported, outputs=("output",))
    inputs = split["test"].spread(4).inputs()
    with pytest.raises(ModelError, match=r"bare\.onnx: has the outputs \['output'\], expected"):
        check_export(served, path, inputs)
    assert forecast_with_bounds(path, split["test"].spread(4)).bounds is None
    parity, _ = check_export(model, path, inputs)
    assert parity["order_kept"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": ("output", "lower")}, "intervals are none; expected 'upper'"),
        ({"level": None}, "expected a property interval_level"),
        ({"level": "90"}, "expected a property interval_level"),
        ({"level": "1.5"}, "expected a property interval_level"),
    ],
)
def test_intervals_that_cannot_be_understood_are_refused_by_name(exported, split, tmp_path, changes, message):
    path = changed(tmp_path / "odd.onnx", exported, **changes)
    with pytest.raises(ModelError, match=rf"odd\.onnx: .*{message}"):
        forecast_with_bounds(path, split["test"].spread(4))
    assert forecast(path, split["test"].spread(4)).shape == (4, 4)


def test_scoring_gets_bounds_and_their_level_from_the_file(served, exported, split):
    index = split["test"].spread(100)
    found = forecast_with_bounds(exported, index, batch_size=33)
    expected = served.predict(index.inputs())
    np.testing.assert_allclose(found.output, forecast(exported, index), rtol=1e-5)
    np.testing.assert_allclose(found.bounds.lower, expected["lower"], rtol=3e-4, atol=1e-6)
    np.testing.assert_allclose(found.bounds.upper, expected["upper"], rtol=3e-4, atol=1e-6)
    assert found.bounds.level == schema.INTERVAL_LEVEL
