"""Inference on one thread: latency and throughput over batch sizes, for ONNX Runtime, eager and compiled torch.

The rows take turns, so that other load on the machine affects all of them equally. The share is that of the float32
matrix product rate, measured in the same run, for the operations of the whole network.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from common import flops_per_window, matmul_gflops, report, synthetic_frame

from bwpredict.datasets.windows import index_windows
from bwpredict.inference.session import open_session
from bwpredict.inference.stream_model import LINKS_AT_A_TIME, open_stream
from bwpredict.models.network import Contract, Forecaster, parameter_count, predict
from bwpredict.models.onnx_export import export_onnx, model_properties

Run = Callable[[np.ndarray], object]


def main() -> None:
    """Export an untrained model (its speed does not depend on its weights) and time it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64, 256, 512, 1024, 4096])
    parser.add_argument("--seconds", type=float, default=2.0, help="seconds to measure each row")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--links", type=int, default=100_000, help="links in one step of a stream")
    parser.add_argument(
        "--compile-sizes",
        type=int,
        nargs="*",
        default=[1, 64],
        help="batch sizes to measure torch.compile at (needs a C++ compiler; each takes a minute or more to compile)",
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
        report("inference_stream", stream_rows(model, Path(folder), arguments))


def stream_rows(model: Forecaster, folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One minute of many links on one thread: their states go on by one sample each."""
    path, properties = folder / "stream.onnx", model_properties(model, version="benchmark", snapshot_id="none")
    export_onnx(model, folder / "windows.onnx", properties, stream=path)
    stream, links = open_stream(path, threads=1), arguments.links
    before = resident_mb()
    samples = np.repeat(
        index_windows(synthetic_frame(2, 8), 20, 15).spread(1000).inputs()[:, :1], links // 1000, axis=0
    )
    state = stream.follow(samples, stream.empty_state(len(samples)))

    def eager(begin: int) -> None:
        part = slice(begin, begin + LINKS_AT_A_TIME)
        with torch.inference_mode():
            model(torch.from_numpy(samples[part]), torch.from_numpy(state[part]))

    runs = {
        "ONNX Runtime": lambda: stream.step(samples, state),
        "torch eager": lambda: [eager(begin) for begin in range(0, len(samples), LINKS_AT_A_TIME)],
    }
    rows, flops = [], flops_per_step(model) * len(samples)
    for name, run in runs.items():
        seconds, limit = [], matmul_gflops()
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        took = float(np.median(seconds))
        rows.append(
            {
                "what": name,
                "links": len(samples),
                "threads": 1,
                "step s": took,
                "limit s": flops / limit / 1e9,
                "memory MB": resident_mb() - before,
                "GFLOP/s": flops / took / 1e9,
                "matmul GFLOP/s": limit,
            }
        )
    return rows


def flops_per_step(model: Forecaster) -> int:
    """Of one sample of one link: two for each weight, all of which are used once."""
    return 2 * parameter_count(model)


def resident_mb() -> float:
    """Memory of this process."""
    return float(psutil.Process().memory_info().rss) / 1e6


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
