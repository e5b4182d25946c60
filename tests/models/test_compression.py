"""Quantisation, and the words for what it gains."""

import json
import logging
import shutil
from datetime import UTC, datetime

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from frames import whole_days
from hypothesis import given
from hypothesis import strategies as st

from bwpredict.config import GatePolicy, RunConfig, SplitConfig, TrainingConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.documents import read_document
from bwpredict.errors import ModelError
from bwpredict.models.compression import (
    MEANINGFUL_SHARE,
    Footprint,
    is_quantized,
    quantize_onnx,
    verdict,
)
from bwpredict.models.network import Contract, Forecaster, predict
from bwpredict.models.onnx_export import (
    PARITY_TOLERANCE,
    QUANTIZED_PARITY_TOLERANCE,
    check_export,
    export_onnx,
    model_properties,
)
from bwpredict.pipeline import challenger
from bwpredict.training.trainer import train

SMALL = TrainingConfig(epochs=1, batch_size=64, windows_per_epoch=256, validation_windows=128)


@pytest.fixture(scope="module")
def split():
    """Of telemetry of which something can be learnt: it goes up and down every forty minutes."""
    frame = whole_days(8)
    frame.values[:, :4] *= np.exp(0.5 * np.sin(frame.timestamps * (2 * np.pi / 2400)))[:, None]
    return split_windows(index_windows(frame, 20, 15), SplitConfig())


@pytest.fixture(scope="module")
def model(split, tmp_path_factory):
    """Of a short training."""
    return train(split, SMALL, tmp_path_factory.mktemp("trained") / "best_model.pth").model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "float.onnx"
    return export_onnx(model, path, model_properties(model, version="v20261101_000000", snapshot_id="abc"))


@pytest.fixture(scope="module")
def quantized(exported):
    path = exported.with_name("int8.onnx")
    shutil.copy(exported, path)
    quantize_onnx(path)
    return path


def test_quantisation_leaves_no_lstm_and_no_linear_layer_in_float32(exported, quantized):
    kinds = {node.op_type for node in onnx.load(quantized).graph.node}
    assert kinds >= {"DynamicQuantizeLSTM", "MatMulInteger"}
    assert not kinds & {"LSTM", "Gemm"}
    assert quantized.stat().st_size < 0.5 * exported.stat().st_size


def test_a_file_tells_by_itself_whether_it_is_quantised(exported, quantized):
    assert (is_quantized(exported), is_quantized(quantized)) == (False, True)


def test_a_quantised_file_passes_the_same_checks_by_a_tolerance_of_its_own(model, quantized, split):
    parity, latency = check_export(model, quantized, split["validation"].spread(64).inputs())
    assert all(parity[fact] for fact in ("onnx_checker", "all_finite", "bounds_kept", "quantized"))
    assert parity["max_batch_effect"] > 0
    assert parity["tolerance"] > PARITY_TOLERANCE
    assert parity["max_relative_error"] <= parity["tolerance"]
    assert latency["p50_ms"] > 0


def test_the_gate_asks_by_default_what_the_documents_call_the_tolerance():
    policy = GatePolicy()
    assert policy.maximum_parity_error == PARITY_TOLERANCE
    assert policy.maximum_parity_error_quantized == QUANTIZED_PARITY_TOLERANCE


def test_a_float_file_keeps_the_tight_tolerance(model, exported, split):
    parity, _ = check_export(model, exported, split["validation"].spread(8).inputs())
    assert (parity["quantized"], parity["tolerance"]) == (False, PARITY_TOLERANCE)
    assert parity["max_relative_error"] <= PARITY_TOLERANCE


def test_a_quantised_file_of_another_model_is_seen(model, quantized, split):
    other = Forecaster(Contract())
    other.load_state_dict(model.state_dict())
    other.network_share.fill_(1.0)
    torch.nn.init.constant_(other.window_head[-1].bias, 3.0)
    parity, _ = check_export(other.eval(), quantized, split["validation"].spread(8).inputs())
    assert parity["max_relative_error"] > parity["tolerance"]


def test_a_quantised_file_keeps_its_contract_its_properties_and_takes_any_batch(model, quantized, split):
    session = ort.InferenceSession(quantized)
    inputs = split["validation"].spread(33).inputs()
    (output,) = session.run(["output"], {"input": inputs})
    np.testing.assert_allclose(output, predict(model, inputs), rtol=0.05, atol=1e-4)
    properties = {entry.key: entry.value for entry in onnx.load(quantized).metadata_props}
    assert (properties["version"], properties["snapshot"]) == ("v20261101_000000", "abc")


def test_a_layer_that_quantisation_cannot_reach_is_refused_and_the_file_left_as_it_was(tmp_path):
    """An LSTM whose weights come in from outside: the quantiser passes over it without a word."""
    shapes = {"x": [1, None, 2], "w": [1, 12, 2], "r": [1, 12, 3]}
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()
    ]
    node = onnx.helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, None, 3])
    graph = onnx.helper.make_graph([node], "loose", tensors, [result])
    path = tmp_path / "loose.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), path)
    before = path.read_bytes()
    with pytest.raises(ModelError, match=r"loose\.onnx: .*LSTM"):
        quantize_onnx(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_tells_what_quantisation_gained(split, tmp_path, caplog):
    now = datetime(2026, 11, 1, tzinfo=UTC)
    run = RunConfig(
        run_id="small", version="v20261101_000000", month="2025-09", telemetry="", registry="", code_version="test",
        created_at=now.isoformat(), training=SMALL, quantize=True,
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        challenger.fit(tmp_path, split, run)
        path = challenger.export_onnx(tmp_path, split, run, "abc")
        challenger.evaluate(
            tmp_path, split, run, {"snapshot_id": "abc", "start": "a", "end": "b", "rows": 1, "links": 2}, None
        )
    metadata = read_document(tmp_path / f"model_metadata_{run.version}.json", "model_metadata")
    compression = metadata["compression"]
    assert compression == read_document(tmp_path / "compression.json", "compression")
    assert compression["compressed"]["size_bytes"] == path.stat().st_size == metadata["onnx"]["size_bytes"]
    assert "smaller" in compression["verdict"]
    assert compression["verdict"] in caplog.text
    assert json.loads((tmp_path / "parity.json").read_text())["quantized"]


BASE = Footprint(1_000_000, 900_000, 1.0, 2.0)
RATIOS = st.floats(0.01, 10)


def changed(size=1.0, latency=1.0, gzipped=1.0):
    return Footprint(round(1_000_000 * size), round(900_000 * gzipped), latency, 2.0)


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (changed(), "neither smaller nor faster"),
        (changed(0.97, 1.03), "neither smaller nor faster"),
        (changed(gzipped=0.6), "neither smaller nor faster (gzipped 40 % smaller)"),
        (changed(latency=1.2), "neither smaller nor faster: 20 % slower"),
        (changed(1.1, 1.2), "neither smaller nor faster: 10 % larger, 20 % slower"),
        (changed(0.25, 0.5, 0.25), "75 % smaller, 50 % faster (gzipped 75 % smaller)"),
        (changed(0.25, 1.3), "75 % smaller, 30 % slower"),
        (changed(0.25), "75 % smaller, no faster"),
        (changed(1.0, 0.5), "no smaller, 50 % faster"),
    ],
)
def test_the_verdict_says_what_was_measured(after, sentence):
    assert verdict(BASE, after) == sentence


@given(RATIOS, RATIOS, RATIOS)
def test_only_what_is_smaller_or_faster_by_more_than_noise_is_called_so(size, latency, gzipped):
    sentence = verdict(BASE, changed(size, latency, gzipped)).partition(" (")[0]
    gained = {"smaller": size < 1 - MEANINGFUL_SHARE - 1e-5, "faster": latency < 1 - MEANINGFUL_SHARE - 1e-5}
    lost = {"larger": size > 1 + MEANINGFUL_SHARE + 1e-5, "slower": latency > 1 + MEANINGFUL_SHARE + 1e-5}
    for word, true in (gained | lost).items():
        if true:
            assert f"% {word}" in sentence
    assert not ("% smaller" in sentence and size > 1 - MEANINGFUL_SHARE + 1e-5)
    assert not ("% faster" in sentence and latency > 1 - MEANINGFUL_SHARE + 1e-5)
    assert ("neither smaller nor faster" in sentence) == ("% smaller" not in sentence and "% faster" not in sentence)


@given(RATIOS, RATIOS)
def test_a_verdict_never_depends_on_the_units(size, latency):
    after = changed(size, latency)
    thousandfold = [
        Footprint(1000 * one.size_bytes, 1000 * one.gzip_bytes, 8 * one.p50_ms, 8.0) for one in (BASE, after)
    ]
    assert verdict(*thousandfold) == verdict(BASE, after)
