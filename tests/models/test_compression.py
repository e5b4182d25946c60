"""Pruning, quantisation, and the words for what they gain."""

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
from bwpredict.models.checkpoint import load_checkpoint
from bwpredict.models.compression import (
    MEANINGFUL_SHARE,
    Footprint,
    is_quantized,
    non_zero_share,
    prune_weights,
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
from bwpredict.training.trainer import prune_and_fine_tune, train

SMALL = TrainingConfig(
    epochs=1, fine_tune_epochs=1, batch_size=64, windows_per_epoch=256, validation_windows=128, prune_share=0.5
)


@pytest.fixture(scope="module")
def split():
    """Of telemetry of which something can be learnt: it goes up and down every forty minutes."""
    frame = whole_days(8)
    frame.values[:, :4] *= np.exp(0.5 * np.sin(frame.timestamps * (2 * np.pi / 2400)))[:, None]
    return split_windows(index_windows(frame, 20, 15), SplitConfig())


@pytest.fixture(scope="module")
def unpruned(split, tmp_path_factory):
    """The checkpoint of a short training."""
    path = tmp_path_factory.mktemp("unpruned") / "unpruned_model.pth"
    train(split, SMALL, path)
    return path


@pytest.fixture(scope="module")
def fine_tuned(unpruned, split, tmp_path_factory):
    path = tmp_path_factory.mktemp("pruned") / "best_model.pth"
    return prune_and_fine_tune(load_checkpoint(unpruned), split, SMALL, path), path


@pytest.fixture(scope="module")
def exported(fine_tuned, tmp_path_factory):
    """The pruned model as a float32 file."""
    path = tmp_path_factory.mktemp("export") / "float.onnx"
    model = fine_tuned[0].model
    return export_onnx(model, path, model_properties(model, version="v20261101_000000", snapshot_id="abc"))


@pytest.fixture(scope="module")
def quantized(exported):
    path = exported.with_name("int8.onnx")
    shutil.copy(exported, path)
    quantize_onnx(path)
    return path


def matrices(model):
    """Weight matrices of LSTM and linear layers by name, in the order of their names."""
    return {name: one.detach().numpy() for name, one in sorted(model.named_parameters()) if one.ndim == 2}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.8, 0.99])
def test_of_each_matrix_the_share_asked_for_is_zero_and_the_smallest_weights_are(share):
    model = Forecaster(Contract())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    before = {name: one.copy() for name, one in matrices(model).items()}
    others = {name: one.clone() for name, one in model.state_dict().items() if one.ndim < 2}
    prune_weights(model, share)
    for name, after in matrices(model).items():
        zeros = after == 0
        assert zeros.sum() == round(share * after.size), name
        np.testing.assert_array_equal(after[~zeros], before[name][~zeros])
        if zeros.any():
            assert np.abs(before[name][zeros]).max() <= np.abs(after[~zeros]).min()
    for name, one in others.items():
        assert torch.equal(one, model.state_dict()[name]), name


def test_fine_tuning_moves_the_other_weights_and_keeps_zeros_zero(unpruned, fine_tuned):
    pruned = load_checkpoint(unpruned)
    prune_weights(pruned, SMALL.prune_share)
    tuned = load_checkpoint(fine_tuned[1])
    for (name, before), after in zip(matrices(pruned).items(), matrices(tuned).values(), strict=True):
        if not before.any():  # the short training left it as it began: half of its zeros are not pruned ones
            continue
        assert not after[before == 0].any(), name
        assert (after[before != 0] != before[before != 0]).mean() > 0.9, name
    assert non_zero_share(tuned) == pytest.approx(0.5, abs=1e-3)
    assert sum(matrix.any() for matrix in matrices(pruned).values()) > 4


def test_pruning_and_fine_tuning_again_gives_the_same_weights_bit_for_bit(unpruned, fine_tuned, split, tmp_path):
    again = prune_and_fine_tune(load_checkpoint(unpruned), split, SMALL, tmp_path / "again.pth").model
    for name, value in fine_tuned[0].model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_pruned_checkpoint_has_plain_tensors_and_tells_what_was_asked_for(unpruned, fine_tuned):
    checkpoint, plain = (torch.load(path, weights_only=True) for path in (fine_tuned[1], unpruned))
    assert checkpoint["state"].keys() == plain["state"].keys()
    assert checkpoint["training"] == SMALL.model_dump()


def test_the_history_tells_the_loss_before_pruning_before_and_after_fine_tuning(fine_tuned):
    history = fine_tuned[0].history
    losses = [history["unpruned_validation_loss"], history["pruned_validation_loss"]]
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
    assert len(history["records"]) == SMALL.fine_tune_epochs
    assert (history["prune_share"], history["non_zero_share"]) == (0.5, pytest.approx(0.5, abs=1e-3))


def test_quantisation_leaves_no_lstm_and_no_linear_layer_in_float32(exported, quantized):
    kinds = {node.op_type for node in onnx.load(quantized).graph.node}
    assert kinds >= {"DynamicQuantizeLSTM", "MatMulInteger"}
    assert not kinds & {"LSTM", "Gemm"}
    assert quantized.stat().st_size < 0.5 * exported.stat().st_size


def test_a_file_tells_by_itself_whether_it_is_quantised(exported, quantized):
    assert (is_quantized(exported), is_quantized(quantized)) == (False, True)


def test_a_quantised_file_passes_the_same_checks_by_a_tolerance_of_its_own(fine_tuned, quantized, split):
    parity, latency = check_export(fine_tuned[0].model, quantized, split["validation"].spread(64).inputs())
    assert all(parity[fact] for fact in ("onnx_checker", "all_finite", "bounds_kept", "quantized"))
    assert parity["max_batch_effect"] > 0
    assert parity["tolerance"] > PARITY_TOLERANCE
    assert parity["max_relative_error"] <= parity["tolerance"]
    assert latency["p50_ms"] > 0


def test_the_gate_asks_by_default_what_the_documents_call_the_tolerance():
    policy = GatePolicy()
    assert policy.maximum_parity_error == PARITY_TOLERANCE
    assert policy.maximum_parity_error_quantized == QUANTIZED_PARITY_TOLERANCE


def test_a_float_file_keeps_the_tight_tolerance(fine_tuned, exported, split):
    parity, _ = check_export(fine_tuned[0].model, exported, split["validation"].spread(8).inputs())
    assert (parity["quantized"], parity["tolerance"]) == (False, PARITY_TOLERANCE)
    assert parity["max_relative_error"] <= PARITY_TOLERANCE


def test_a_quantised_file_of_another_model_is_seen(fine_tuned, quantized, split):
    other = Forecaster(Contract())
    other.load_state_dict(fine_tuned[0].model.state_dict())
    other.network_share.fill_(1.0)
    torch.nn.init.constant_(other.window_head[-1].bias, 3.0)
    parity, _ = check_export(other.eval(), quantized, split["validation"].spread(8).inputs())
    assert parity["max_relative_error"] > parity["tolerance"]


def test_a_quantised_file_keeps_its_contract_its_properties_and_takes_any_batch(fine_tuned, quantized, split):
    session = ort.InferenceSession(quantized)
    inputs = split["validation"].spread(33).inputs()
    (output,) = session.run(["output"], {"input": inputs})
    np.testing.assert_allclose(output, predict(fine_tuned[0].model, inputs), rtol=0.05, atol=1e-4)
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


def test_a_run_tells_what_pruning_and_quantisation_gained_and_that_pruning_alone_gains_nothing(split, tmp_path, caplog):
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
    assert (compression["prune_share"], compression["quantized"]) == (0.5, True)
    assert compression["compressed"]["size_bytes"] == path.stat().st_size == metadata["onnx"]["size_bytes"]
    assert "smaller" in compression["verdict"]
    assert "no smaller" in compression["pruning_verdict"] or "neither smaller" in compression["pruning_verdict"]
    assert compression["pruning_verdict"] in caplog.text
    assert json.loads((tmp_path / "parity.json").read_text())["quantized"]
    history = read_document(tmp_path / "history.json", "training_history")
    assert history["duration_seconds"] >= history["pruning"]["duration_seconds"] > 0


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
