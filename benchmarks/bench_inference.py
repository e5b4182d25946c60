"""Inference on one thread: latency and throughput over batch sizes, of ONNX Runtime, eager and compiled torch.

Rows are measured in turns, so that a busy machine hits all of them alike; the share is of the float32 matrix
product rate measured in the same run, for the operations of the whole network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import flops_per_window, matmul_gflops, report, synthetic_frame

from bwpredict.datasets.windows import index_windows
from bwpredict.inference.session import open_session
from bwpredict.models.network import Contract, Forecaster, predict
from bwpredict.models.onnx_export import export_onnx, model_properties

Run = Callable[[np.ndarray], object]


def main() -> None:
    """Export an untrained model (its speed does not depend on its weights) and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 256, 512, 1024, 4096])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--compile-sizes",
        type=int,
        nargs="*",
        default=[1, 64],
        help="batch sizes to measure torch.compile at; each takes a minute or more to compile, with a C++ compiler",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    windows = index_windows(synthetic_frame(2, 8), 20, 15).spread(max(arguments.batch_sizes)).inputs()
    model = Forecaster(Contract()).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        export_onnx(model, path, model_properties(model, version="benchmark", snapshot_id="none"))
        session = open_session(path, threads=1)
        runs: dict[str, Run] = {
            "ONNX Runtime": lambda batch: session.run(["output"], {"input": batch}),
            "torch eager": lambda batch: predict(model, batch),
        }
        rows = []
        for size in arguments.batch_sizes:
            fast = {"torch.compile": compiled(model)} if size in arguments.compile_sizes else {}
            rows += measure({**runs, **fast}, windows[:size], model, arguments)
    report("inference", rows)


def compiled(model: Forecaster) -> Run:
    """The model through torch.compile; one graph for each batch size."""
    fast = torch.compile(model, dynamic=False)
    torch._dynamo.config.recompile_limit = 64  # noqa: SLF001 - torch's own way of setting it

    def run(batch: np.ndarray) -> object:
        with torch.inference_mode():
            return fast(torch.from_numpy(batch), model.empty_state(len(batch)))

    return run


def measure(
    runs: dict[str, Run], batch: np.ndarray, model: Forecaster, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each way to run this batch, beside the matrix product rate at the time."""
    batch = np.ascontiguousarray(batch)
    durations: dict[str, list[float]] = {name: [] for name in runs}
    rates = []
    for run in runs.values():
        run(batch)
    for _ in range(arguments.rounds):
        rates.append(matmul_gflops())
        for name, run in runs.items():
            until = time.perf_counter() + arguments.seconds / arguments.rounds
            while time.perf_counter() < until or not durations[name]:
                began = time.perf_counter()
                run(batch)
                durations[name].append(time.perf_counter() - began)
    limit = float(np.median(rates))
    flops = flops_per_window(model) * len(batch)
    return [_row(name, np.array(times), len(batch), flops, limit) for name, times in durations.items()]


def _row(what: str, seconds: np.ndarray, batch: int, flops: int, limit: float) -> dict[str, Any]:
    p50, p99 = np.percentile(seconds, (50, 99))
    gflops = flops / p50 / 1e9
    return {
        "what": what,
        "batch": batch,
        "threads": 1,
        "p50 ms": float(p50) * 1e3,
        "p99 ms": float(p99) * 1e3,
        "windows/s": batch / float(p50),
        "limit windows/s": limit * 1e9 * batch / flops,
        "GFLOP/s": gflops,
        "matmul GFLOP/s": limit,
        "share of matmul": gflops / limit,
    }


if __name__ == "__main__":
    main()
