"""A consumer's view of an ONNX model, in a process of its own: load, run, time. Needs no torch.

    python -m bwpredict.onnx_probe MODEL.onnx INPUTS.npy OUTPUTS.npz

writes `output` (the forecasts for INPUTS in one batch), `alone` (one by one), and `latency_ms` (one
duration for each single-window run).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

LATENCY_RUNS = 500
WARM_UP_RUNS = 50


def open_session(model: Path, *, threads: int) -> ort.InferenceSession:
    """The model in ONNX Runtime on CPU, with `threads` threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def measure_latency(session: ort.InferenceSession, windows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """[LATENCY_RUNS], milliseconds of single-window runs over `windows` [n, window_size, features] in turn."""
    durations = np.empty(WARM_UP_RUNS + LATENCY_RUNS)
    for run in range(len(durations)):
        window = windows[run % len(windows)][None]
        began = time.perf_counter()
        session.run(["output"], {"input": window})
        durations[run] = (time.perf_counter() - began) * 1e3
    return durations[WARM_UP_RUNS:]


def main(model: str, inputs: str, outputs: str) -> None:
    """Run as a script; see the module's docstring."""
    windows = np.load(inputs, allow_pickle=False)
    session = open_session(Path(model), threads=1)
    (output,) = session.run(["output"], {"input": windows})
    alone = np.concatenate([session.run(["output"], {"input": window[None]})[0] for window in windows])
    np.savez(outputs, output=output, alone=alone, latency_ms=measure_latency(session, windows))


if __name__ == "__main__":
    main(*sys.argv[1:])
