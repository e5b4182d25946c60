"""A consumer's view of an ONNX model, in a process of its own: load, run, time. Needs no torch.

    python -m bwpredict.inference.session MODEL.onnx REFERENCE.onnx INPUTS.npy OUTPUTS.npz

writes each of the model's outputs for INPUTS as [batch sizes, n, targets], the windows given in batches of
each of `BATCH_SIZES` and then all at once, and `latency_ms` (rounds of one duration for each single-window run) with
`reference_ms`, the same of the reference graph, which runs between them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from bwpredict.core.guide import GUIDE_LATENCY_MS
from bwpredict.inference.guard import check_onnx

BATCH_SIZES = (1, 3)
LATENCY_RUNS = 500
LATENCY_ROUNDS = 5
BUSY_PATIENCE_SECONDS = 60.0
"""For how long more rounds follow while the machine is too busy to tell."""
ROUND_PAUSE_SECONDS = 0.2
"""Between two rounds, so that one moment in which others use the machine does not fall on all of them."""
WARM_UP_RUNS = 50
REFERENCE_SIZE = 192
"""Rows and columns of the matrices that the reference graph multiplies."""
BUSY_FACTOR = 3.0
"""The machine was busy where the reference's p99 is this many times its median."""


def open_session(model: Path | bytes, *, threads: int) -> ort.InferenceSession:
    """The model in ONNX Runtime on CPU, with `threads` threads (0: one for each core). Raises as `check_onnx`.

    With one for each core, threads that wait sleep instead of spinning: nobody else would have a core meanwhile.
    """
    content = check_onnx(model, name="the model" if isinstance(model, bytes) else str(model))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if threads == 0:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def measure_latency(session: ort.InferenceSession, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """[LATENCY_RUNS], milliseconds of single-window runs over `windows` [n, window_size, features] in turn.

    All outputs are asked for, the intervals included.
    """
    durations = np.empty(WARM_UP_RUNS + LATENCY_RUNS)
    for run in range(len(durations)):
        window = windows[run % len(windows)][None]
        began = time.perf_counter()
        session.run(None, {"input": window})
        durations[run] = (time.perf_counter() - began) * 1e3
    return durations[WARM_UP_RUNS:]


def measure_with_reference(
    session: ort.InferenceSession, reference: ort.InferenceSession, windows: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """[2, LATENCY_RUNS], milliseconds of the model's runs as `measure_latency`, and of the reference's between them."""
    durations = np.empty((2, WARM_UP_RUNS + LATENCY_RUNS))
    given = {"input": np.ones((REFERENCE_SIZE, REFERENCE_SIZE), np.float32)}
    for run in range(durations.shape[1]):
        window = {"input": windows[run % len(windows)][None]}
        began = time.perf_counter()
        session.run(None, window)
        between = time.perf_counter()
        reference.run(None, given)
        durations[:, run] = between - began, time.perf_counter() - between
    return durations[:, WARM_UP_RUNS:] * 1e3


def measure_rounds(
    session: ort.InferenceSession, reference: ort.InferenceSession, windows: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """[2, rounds, LATENCY_RUNS], rounds of `measure_with_reference`: at least `LATENCY_ROUNDS`.

    Where the model seems slower than the guide allows and the machine is busy, more rounds follow, until each run was
    undisturbed once or `BUSY_PATIENCE_SECONDS` have passed.
    """
    rounds: list[npt.NDArray[np.float64]] = []
    deadline = time.monotonic() + BUSY_PATIENCE_SECONDS
    while len(rounds) < LATENCY_ROUNDS or (time.monotonic() < deadline and _is_undecided(*np.stack(rounds, axis=1))):
        rounds.append(measure_with_reference(session, reference, windows))
        time.sleep(ROUND_PAUSE_SECONDS)
    return np.stack(rounds, axis=1)


def _is_undecided(durations_ms: npt.NDArray[np.float64], reference_ms: npt.NDArray[np.float64]) -> bool:
    seems_slow = np.percentile(best_of_rounds(durations_ms), 99) > GUIDE_LATENCY_MS
    return bool(seems_slow) and was_busy(reference_ms)


def best_of_rounds(durations: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[runs] of [rounds, runs]: each window in the round in which it took least; what others do can only slow it."""
    best: npt.NDArray[np.float64] = durations.min(axis=0)
    return best


def was_busy(reference_ms: npt.NDArray[np.float64]) -> bool:
    """Whether others disturbed runs of the reference, whose durations are `reference_ms` [rounds, runs], every time."""
    median, p99 = np.percentile(best_of_rounds(reference_ms), (50, 99))
    return bool(p99 > BUSY_FACTOR * median)


def main(model: str, reference: str, inputs: str, outputs: str) -> None:
    """Run as a script; see the module's docstring."""
    windows = np.load(inputs, allow_pickle=False)
    session = open_session(Path(model), threads=1)
    names = [output.name for output in session.get_outputs()]
    runs = [_in_batches(session, windows, size) for size in (*BATCH_SIZES, len(windows))]
    answers = {name: np.stack([run[place] for run in runs]) for place, name in enumerate(names)}
    latency_ms, reference_ms = measure_rounds(session, open_session(Path(reference), threads=1), windows)
    np.savez(outputs, **answers, latency_ms=latency_ms, reference_ms=reference_ms)  # type: ignore[arg-type]


def _in_batches(
    session: ort.InferenceSession, windows: npt.NDArray[np.float32], size: int
) -> list[npt.NDArray[np.float32]]:
    """Each output for all windows, from runs over `size` windows at a time."""
    runs = [session.run(None, {"input": windows[begin : begin + size]}) for begin in range(0, len(windows), size)]
    return [np.concatenate(parts) for parts in zip(*runs, strict=True)]


if __name__ == "__main__":
    main(*sys.argv[1:])
