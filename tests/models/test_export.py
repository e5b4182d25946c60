"""What consumers get from the files: windows as the contract says, and streams that carry a state."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from frames import whole_days
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from models import restless_model

from bwpredict import schema
from bwpredict.config import SplitConfig, TrainingConfig
from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.documents import write_document
from bwpredict.errors import ModelError
from bwpredict.inference.onnx_model import forecast, forecast_with_bounds
from bwpredict.inference.session import open_session
from bwpredict.models.network import Forecast, predict, predict_all
from bwpredict.models.onnx_export import (
    check_export,
    check_stream,
    export_onnx,
    extreme_windows,
    model_properties,
)
from bwpredict.training.trainer import new_model

VERSION = "v20261101_000000"


@pytest.fixture(scope="module")
def split():
    return split_windows(index_windows(whole_days(8), 20, 15), SplitConfig())


@pytest.fixture(scope="module")
def model(split):
    return restless_model(split, std=0.1)


@pytest.fixture(scope="module")
def properties(model):
    return model_properties(model, version=VERSION, snapshot_id="abc")


@pytest.fixture(scope="module")
def exported(model, properties, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return export_onnx(model, folder / "model.onnx", properties, stream=folder / "stream.onnx")


@pytest.fixture(scope="module")
def stream(exported):
    return exported.with_name("stream.onnx")


@pytest.fixture(scope="module")
def windows(split):
    return split["test"].spread(64).inputs()


def assert_in_order(found):
    assert all(np.isfinite(values).all() for values in found.values())
    assert (found["lower"] <= found["output"]).all()
    assert (found["output"] <= found["upper"]).all()
    assert (found["lower"] >= 0).all()
    assert (found["upper"][:, schema.TARGETS.index("packet_loss")] <= 1).all()


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (3, 20, 9), elements=st.floats(0, 2.0**100, width=32)))
def test_whatever_the_window_the_forecast_lies_within_finite_possible_bounds(model, raw):
    found = predict_all(model, raw)
    assert_in_order({name: found[name] for name in ("output", "lower", "upper")})


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_onnx_runtime_agrees_with_torch_on_every_output_at_any_batch_size(model, exported, windows, batch):
    session = ort.InferenceSession(exported)
    names = ("output", "lower", "upper")
    for inputs in (windows[:batch], *extreme_windows(windows).values()):
        found = dict(zip(names, session.run(names, {"input": inputs}), strict=True))
        assert_in_order(found)
        expected = predict_all(model, inputs)
        for name in names:
            np.testing.assert_allclose(found[name], expected[name], rtol=5e-4, atol=1e-5)


def test_the_check_in_a_fresh_process_finds_parity_bounds_and_latency(model, exported, windows, tmp_path):
    parity, latency = check_export(model, exported, windows[:32])
    write_document(tmp_path / "parity.json", "parity", parity)
    write_document(tmp_path / "latency.json", "latency", latency)
    assert parity["onnx_checker"]
    assert parity["order_kept"] is True
    assert parity["bounds_kept"]
    assert parity["all_finite"]
    assert parity["outputs"].keys() == {"output", "lower", "upper"}
    assert max(parity["outputs"].values()) == parity["max_relative_error"] < parity["tolerance"]
    assert parity["batch_sizes"] == [1, 3, 37]
    assert 0 < latency["p50_ms"] <= latency["p99_ms"]
    assert 0 < latency["reference"]["p50_ms"] <= latency["reference"]["p99_ms"]


@pytest.mark.parametrize("buffer", ["interval_factor", "typical_change"])
def test_the_check_sees_a_file_that_holds_another_model(model, exported, windows, buffer):
    state = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        getattr(model, buffer).mul_(0.5)
        parity, _ = check_export(model, exported, windows)
    finally:
        model.load_state_dict(state)
    assert parity["max_relative_error"] > parity["tolerance"]


def test_the_files_tell_version_units_horizon_snapshot_and_the_stream(exported, stream, model):
    for path in (exported, stream):
        properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert properties["version"] == VERSION
        assert properties["snapshot"] == "abc"
        assert json.loads(properties["features"]) == list(schema.FEATURES)
        assert json.loads(properties["units"])["rtt_ms"] == "ms"
        assert properties["horizon_minutes"] == "15"
        streaming = json.loads(properties["streaming"])
        assert streaming["state_size"] == model.state_size
        assert streaming["horizons_minutes"] == [1, 5, 15, 30, 60]
        assert streaming["onnx"] == f"bandwidth_lstm_stream_{VERSION}.onnx"


def test_input_and_outputs_keep_the_contract_and_output_alone_can_be_asked_for(model, exported, windows):
    session = ort.InferenceSession(exported)
    (given_input,) = session.get_inputs()
    assert (given_input.name, given_input.type, given_input.shape[1:]) == ("input", "tensor(float)", [20, 9])
    assert isinstance(given_input.shape[0], str)
    names = [(output.name, output.type, output.shape[1:]) for output in session.get_outputs()]
    assert names == [(name, "tensor(float)", [4]) for name in ("output", "lower", "upper")]
    (alone,) = session.run(["output"], {"input": windows})
    np.testing.assert_allclose(alone, predict(model, windows), rtol=1e-4)


def test_a_corrupt_file_is_refused_by_name(model, exported, windows, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        check_export(model, broken, windows[:4])


def test_scoring_gets_bounds_and_their_level_from_the_file(model, exported, split):
    index = split["test"].spread(100)
    found, expected = forecast_with_bounds(exported, index, batch_size=33), predict_all(model, index.inputs())
    np.testing.assert_allclose(found.output, forecast(exported, index), rtol=1e-5)
    np.testing.assert_allclose(found.bounds.lower, expected["lower"], rtol=5e-4, atol=1e-5)
    np.testing.assert_allclose(found.bounds.upper, expected["upper"], rtol=5e-4, atol=1e-5)
    assert found.bounds.level == schema.INTERVAL_LEVEL


def test_a_model_without_intervals_gives_the_output_alone(model, split, tmp_path):
    windows = model.calibration_windows.item()
    model.calibration_windows.zero_()
    try:
        path = export_onnx(model, tmp_path / "bare.onnx", model_properties(model, version=VERSION, snapshot_id="abc"))
    finally:
        model.calibration_windows.fill_(windows)
    assert [output.name for output in ort.InferenceSession(path).get_outputs()] == ["output"]
    assert forecast_with_bounds(path, split["test"].spread(4)).bounds is None


@pytest.mark.parametrize(
    ("outputs", "level", "message"),
    [
        (("output", "lower"), "0.9", "intervals are none; expected 'upper'"),
        (("output", "lower", "upper"), None, "expected a property interval_level"),
        (("output", "lower", "upper"), "90", "expected a property interval_level"),
    ],
)
def test_intervals_that_cannot_be_understood_are_refused_by_name(exported, split, tmp_path, outputs, level, message):
    document = onnx.load(exported)
    kept = [output for output in document.graph.output if output.name in outputs]
    del document.graph.output[:]
    document.graph.output.extend(kept)
    properties = [entry for entry in document.metadata_props if entry.key != "interval_level"]
    del document.metadata_props[:]
    document.metadata_props.extend(properties)
    if level is not None:
        document.metadata_props.add(key="interval_level", value=level)
    path = tmp_path / "odd.onnx"
    onnx.save(document, path)
    with pytest.raises(ModelError, match=rf"odd\.onnx: .*{message}"):
        forecast_with_bounds(path, split["test"].spread(4))
    assert forecast(path, split["test"].spread(4)).shape == (4, 4)


def two_days(split):
    sequences = Sequences.of(split["train"])
    return sequences.cut(np.arange(len(sequences)), sequences.spans[0], 2880)


def test_a_stream_agrees_with_torch_over_two_days_with_gaps(model, stream, split):
    parity = check_stream(model, stream, two_days(split))
    assert parity["samples"] == 2880
    assert parity["max_relative_error"] < 1e-3
    assert parity["max_state_error"] < 1e-3


def test_twenty_steps_of_one_sample_are_one_step_of_twenty_and_a_window(model, stream, windows):
    session = open_session(stream, threads=1)
    state = np.zeros((len(windows), model.state_size), np.float32)
    whole = session.run(None, {"input": windows, "state": state})
    for each in range(20):
        stepped = session.run(None, {"input": windows[:, each : each + 1], "state": state})
        state = stepped[Forecast._fields.index("next_state")]
    for name, one, other in zip(Forecast._fields, whole, stepped, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(whole[0], predict(model, windows), rtol=1e-3, atol=1e-5)


def test_names_and_free_dimensions_of_the_stream(model, stream):
    session = ort.InferenceSession(stream)
    samples, state = session.get_inputs()
    assert (samples.name, state.name, samples.shape[2], state.shape[1]) == ("input", "state", 9, model.state_size)
    assert [output.name for output in session.get_outputs()] == list(Forecast._fields)


def test_windows_of_another_size_and_horizon_are_exported_too(split, tmp_path):
    index = index_windows(whole_days(2), 7, 10)
    model = new_model(replace(index), TrainingConfig(window_size=7, horizon_minutes=10), frozenset())
    path = export_onnx(model.eval(), tmp_path / "other.onnx", model_properties(model, version=VERSION, snapshot_id="a"))
    assert forecast(path, index.spread(5)).shape == (5, 4)
    assert model.contract.horizons_minutes == (1, 5, 10, 15, 30, 60)


def test_each_of_several_models_exported_in_one_process_gets_its_own_weights(
    model, exported, properties, split, windows, tmp_path
):
    other = restless_model(split, std=0.3)
    of_other = export_onnx(other, tmp_path / "other.onnx", properties)
    (found,) = ort.InferenceSession(of_other).run(["output"], {"input": windows})
    np.testing.assert_allclose(found, predict(other, windows), rtol=5e-4, atol=1e-5)
    again = export_onnx(model, tmp_path / "again.onnx", properties)
    assert again.read_bytes() == exported.read_bytes()
