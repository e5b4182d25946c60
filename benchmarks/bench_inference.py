"""Inference: single-window latency of the exported model in ONNX Runtime on one core, beside torch eager."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import matmul_gflops, median_seconds, report, synthetic_frame

from bwpredict.export import export_onnx, model_properties
from bwpredict.model import Contract, Forecaster, predict
from bwpredict.onnx_probe import measure_latency, open_session
from bwpredict.windows import index_windows


def main() -> None:
    """Export an untrained model (its speed does not depend on its weights) and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="times 500 single-window runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    windows = index_windows(synthetic_frame(2, 8), 20, 15).spread(512).inputs()
    model = Forecaster(Contract()).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(model, path, model_properties(model, version="benchmark", snapshot_id="none"))
        session = open_session(path, threads=1)
        latency = np.concatenate([measure_latency(session, windows) for _ in range(arguments.repeats)])
        batch = median_seconds(lambda: session.run(["output"], {"input": windows}))
    eager = np.array([median_seconds(lambda: predict(model, windows[:1]), repeats=25) for _ in range(5)]) * 1e3
    limit = matmul_gflops()
    report(
        "inference",
        [
            _row("ONNX Runtime, batch 1", latency, limit),
            _row(f"ONNX Runtime, batch {len(windows)}, each window", np.array([batch * 1e3 / len(windows)]), limit),
            _row("torch eager, batch 1", eager, limit),
        ],
    )


def _row(what: str, milliseconds: np.ndarray, matmul: float) -> dict[str, object]:
    p50, p99 = np.percentile(milliseconds, (50, 99))
    return {
        "what": what,
        "threads": 1,
        "p50 ms": float(p50),
        "p99 ms": float(p99),
        "windows/s": 1e3 / float(p50),
        "matmul GFLOP/s": matmul,
    }


if __name__ == "__main__":
    main()
