import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from frames import whole_days

from bwpredict import schema
from bwpredict.datasets.windows import index_windows
from bwpredict.documents import write_document
from bwpredict.errors import ModelError
from bwpredict.models.network import Contract, Forecaster, predict
from bwpredict.models.onnx_export import check_export, export_onnx, model_properties


@pytest.fixture(scope="module")
def windows():
    return index_windows(whole_days(2), 20, 15)


@pytest.fixture(scope="module")
def model(windows):
    torch.manual_seed(0)
    model = Forecaster(Contract())
    model.fit_transforms(torch.from_numpy(windows.inputs()), torch.from_numpy(windows.targets()))
    torch.nn.init.normal_(model.layers.output.weight, std=0.1)
    return model.eval()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "bandwidth_lstm_v20261101_000000.onnx"
    return export_onnx(model, path, model_properties(model, version="v20261101_000000", snapshot_id="abc"))


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
def test_onnx_runtime_agrees_with_torch_at_any_batch_size(model, exported, windows, batch):
    inputs = windows.inputs(slice(batch))
    (served,) = ort.InferenceSession(exported).run(["output"], {"input": inputs})
    np.testing.assert_allclose(served, predict(model, inputs), rtol=1e-4)


def test_the_check_in_a_fresh_process_finds_parity_bounds_and_latency(model, exported, windows, tmp_path):
    parity, latency = check_export(model, exported, windows.spread(64).inputs())
    assert parity["onnx_checker"]
    assert parity["all_finite"]
    assert parity["bounds_kept"]
    assert parity["max_relative_error"] < parity["tolerance"]
    assert {case["case"] for case in parity["cases"]} >= {"real", "zeros", "maxima", "constant"}
    assert 0 < latency["p50_ms"] <= latency["p99_ms"]
    write_document(tmp_path / "parity.json", "parity", parity)
    write_document(tmp_path / "latency.json", "latency", latency)


def test_the_check_sees_a_file_that_holds_another_model(model, exported, windows):
    other = Forecaster(Contract())
    other.load_state_dict(model.state_dict())
    torch.nn.init.normal_(other.layers.output.weight, std=0.5)
    parity, _ = check_export(other.eval(), exported, windows.spread(64).inputs())
    assert parity["max_relative_error"] > parity["tolerance"]


def test_the_file_tells_version_features_units_horizon_and_snapshot(exported):
    properties = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    assert properties["version"] == "v20261101_000000"
    assert properties["snapshot"] == "abc"
    assert json.loads(properties["features"]) == list(schema.FEATURES)
    assert json.loads(properties["units"])["rtt_ms"] == "ms"
    assert properties["horizon_minutes"] == "15"


def test_input_and_output_keep_the_contract(exported):
    session = ort.InferenceSession(exported)
    (given,), outputs = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1:]) == ("input", "tensor(float)", [20, 9])
    assert (outputs[0].name, outputs[0].type, outputs[0].shape[1:]) == ("output", "tensor(float)", [4])
    assert isinstance(given.shape[0], str)


def test_a_corrupt_file_is_refused_by_name(model, exported, windows, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        check_export(model, broken, windows.spread(4).inputs())
