"""Latency is the model's own, whoever else uses the machine."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from tiny_onnx import last_value_onnx

from bwpredict.core.guide import GUIDE_LATENCY_MS
from bwpredict.documents import encode_document
from bwpredict.inference import session as session_module
from bwpredict.inference.session import (
    BUSY_FACTOR,
    LATENCY_ROUNDS,
    LATENCY_RUNS,
    REFERENCE_SIZE,
    measure_rounds,
    open_session,
)
from bwpredict.models.latency import latency_document, reference_graph

ROUNDS, RUNS = 5, 500


def rounds(typical_ms, slow_ms, disturbed):
    """[ROUNDS, RUNS] durations; in the rounds `disturbed`, 1 of 20 runs takes `slow_ms`."""
    found = np.full((ROUNDS, RUNS), typical_ms)
    for one in disturbed:
        found[one, ::20] = slow_ms
    return found


def test_the_best_round_counts_and_one_quiet_round_is_enough_to_tell():
    document = latency_document(rounds(0.5, 40.0, range(4)), rounds(0.2, 8.0, range(4)))
    encode_document("latency", document, name="latency.json")
    assert (document["p50_ms"], document["p99_ms"], document["busy"]) == (0.5, 0.5, False)
    assert document["reference"] == {"p50_ms": 0.2, "p99_ms": 0.2}


def test_runs_that_were_disturbed_in_one_round_count_with_another():
    """Every round is disturbed, but never twice at the same run: no round alone would tell."""
    alike = (rounds(0.5, 40.0, range(ROUNDS)), rounds(0.2, 8.0, range(ROUNDS)))
    document = latency_document(*(np.stack([np.roll(each[one], one) for one in range(ROUNDS)]) for each in alike))
    assert (document["p50_ms"], document["p99_ms"], document["busy"]) == (0.5, 0.5, False)


def test_the_machine_was_busy_where_every_round_of_the_reference_was_disturbed():
    document = latency_document(rounds(0.5, 40.0, range(5)), rounds(0.2, 8.0, range(5)))
    assert (document["p99_ms"], document["busy"]) == (40.0, True)
    assert document["reference"] == {"p50_ms": 0.2, "p99_ms": 8.0}


def test_a_slow_model_on_a_quiet_machine_is_slow():
    document = latency_document(rounds(0.5, 40.0, range(5)), rounds(0.2, 0.2 * BUSY_FACTOR, range(5)))
    assert (document["p99_ms"], document["busy"]) == (40.0, False)


def test_the_reference_is_a_matrix_product(tmp_path):
    session = ort.InferenceSession(reference_graph(tmp_path / "reference.onnx"))
    given = np.random.default_rng(0).random((REFERENCE_SIZE, REFERENCE_SIZE), np.float32)
    (found,) = session.run(None, {"input": given})
    np.testing.assert_allclose(found, given @ given, rtol=1e-4)


@pytest.mark.parametrize(
    ("disturbed", "slow_ms", "taken"),
    [
        (0, 40.0, LATENCY_ROUNDS),
        (LATENCY_ROUNDS - 1, 40.0, LATENCY_ROUNDS),
        (8, 40.0, 9),
        (10**6, 40.0, 12),
        (10**6, GUIDE_LATENCY_MS, LATENCY_ROUNDS),
    ],
)
def test_a_model_that_seems_slow_is_measured_until_a_round_is_undisturbed(monkeypatch, disturbed, slow_ms, taken):
    """Each round takes a second; the first `disturbed` ones are, and the patience lasts for twelve."""
    state = {"round": 0, "now": 0.0}

    def measure(*_):
        state["round"] += 1
        busy = [0] if state["round"] <= disturbed else []
        return np.stack([rounds(0.5, slow_ms, busy)[0], rounds(0.2, 8.0, busy)[0]])

    def sleep(_):
        state["now"] += 1.0

    monkeypatch.setattr(session_module, "measure_with_reference", measure)
    monkeypatch.setattr(session_module, "BUSY_PATIENCE_SECONDS", 12.0)
    monkeypatch.setattr(session_module.time, "sleep", sleep)
    monkeypatch.setattr(session_module.time, "monotonic", lambda: state["now"])
    assert measure_rounds(None, None, None).shape == (2, taken, RUNS)


@pytest.mark.slow
def test_a_busy_machine_makes_no_model_slow(tmp_path):
    model = open_session(last_value_onnx(tmp_path / "model.onnx"), threads=1)
    reference = open_session(reference_graph(tmp_path / "reference.onnx"), threads=1)
    windows = np.ones((4, 20, 9), np.float32)
    cores = len(os.sched_getaffinity(0))
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6 * cores)]
    try:
        durations, beside = measure_rounds(model, reference, windows)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    document = latency_document(durations, beside)
    assert durations.shape == beside.shape == (document["rounds"], LATENCY_RUNS)
    assert beside.max() > GUIDE_LATENCY_MS  # the machine was busy
    assert document["p99_ms"] < 1
    assert document["busy"] is False
