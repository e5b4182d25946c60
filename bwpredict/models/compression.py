"""Smaller models: int8 quantisation of an ONNX file, and what it really gains."""

from __future__ import annotations

import gzip
import logging
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from bwpredict.errors import ModelError
from bwpredict.inference.session import measure_latency, open_session
from bwpredict.store.files import atomic_path

MEANINGFUL_SHARE = 0.05
"""A size or a latency that changes by less is called the same: repeated timings differ by as much."""
LATENCY_ROUNDS = 3
_EIGHT_BITS = (TensorProto.INT8, TensorProto.UINT8)
_LARGE = 2**31


@dataclass(frozen=True)
class Footprint:
    """What a model file costs whoever stores and serves it."""

    size_bytes: int
    gzip_bytes: int
    p50_ms: float
    """Single windows on one thread."""
    p99_ms: float


def quantize_onnx(path: Path) -> None:
    """Replace the float32 ONNX file by one with int8 weights, which only ONNX Runtime can run.

    The exporter computes each LSTM's weights by nodes, and the quantiser passes over what is no stored
    tensor without a word: so constants are folded first. Weights get 7 bits of 8: CPUs without VNNI
    saturate sums of full 8-bit products, and would forecast otherwise than the machine of the checks.

    Raises:
        ModelError: an LSTM or linear layer was left in float32.
    """
    import onnxscript.ir
    import onnxscript.optimizer

    with atomic_path(path) as temporary, tempfile.TemporaryDirectory() as folder:
        folded = Path(folder, "folded.onnx")
        graph = onnxscript.ir.load(path)
        onnxscript.optimizer.fold_constants(graph, input_size_limit=_LARGE, output_size_limit=_LARGE)
        onnxscript.optimizer.remove_unused_nodes(graph)
        onnxscript.ir.save(graph, folded)
        root, level = logging.getLogger(), logging.getLogger().level
        root.setLevel(logging.ERROR)  # there the quantiser advises to optimise the graph beforehand
        try:
            quantize_dynamic(
                folded,
                temporary,
                op_types_to_quantize=["LSTM", "MatMul"],
                weight_type=QuantType.QInt8,
                reduce_range=True,
            )
        finally:
            root.setLevel(level)
        left = _in_float32(onnx.load(temporary))
        if left:
            raise ModelError(f"{path.name}: quantisation left {', '.join(left)} in float32; export without it.")


def _in_float32(model: onnx.ModelProto) -> list[str]:
    """The kinds of operators with stored float32 weights; products that average samples have none."""
    stored = {one.name for one in model.graph.initializer}
    return sorted(
        {
            node.op_type
            for node in model.graph.node
            if node.op_type == "LSTM" or (node.op_type in ("MatMul", "Gemm") and node.input[1] in stored)
        }
    )


def is_quantized(path: Path) -> bool:
    """Whether the ONNX file holds 8-bit weights: according to the file itself, not by what was asked for."""
    return any(one.data_type in _EIGHT_BITS for one in onnx.load(path).graph.initializer)


def measure_footprints(paths: list[Path], windows: npt.NDArray[np.float32]) -> list[Footprint]:
    """One for each file; their latencies are taken in turns, so that a busy machine hits all of them alike.

    `windows` [n, window_size, features], raw units.
    """
    sessions = [open_session(path, threads=1) for path in paths]
    rounds = [[measure_latency(session, windows) for session in sessions] for _ in range(LATENCY_ROUNDS)]
    footprints = []
    for path, durations in zip(paths, np.concatenate(rounds, axis=1), strict=True):
        content = path.read_bytes()
        p50, p99 = np.percentile(durations, (50, 99))
        footprints.append(
            Footprint(len(content), len(gzip.compress(content, mtime=0)), round(float(p50), 4), round(float(p99), 4))
        )
    return footprints


def describe(reference: Footprint, compressed: Footprint) -> dict[str, Any]:
    """The `compression` document: what quantisation gained or cost against `reference`, the float32 file."""
    return {
        "quantized": True,
        "reference": asdict(reference),
        "compressed": asdict(compressed),
        "verdict": verdict(reference, compressed),
    }


def verdict(reference: Footprint, compressed: Footprint) -> str:
    """What was gained, in words: the file as it is served and the latency (p50), then the file as it travels.

    A change below `MEANINGFUL_SHARE` is none. Percentages are of the reference.
    """
    size = _change(reference.size_bytes, compressed.size_bytes)
    latency = _change(reference.p50_ms, compressed.p50_ms)
    gzipped = _change(reference.gzip_bytes, compressed.gzip_bytes)
    told = [_told(size, "smaller", "larger"), _told(latency, "faster", "slower")]
    if min(size, latency) < 0:
        sentence = ", ".join(told)
    else:
        losses = ", ".join(words for change, words in zip((size, latency), told, strict=True) if change)
        sentence = "neither smaller nor faster" + (f": {losses}" if losses else "")
    return sentence + (f" (gzipped {_told(gzipped, 'smaller', 'larger')})" if gzipped else "")


def _change(before: float, after: float) -> float:
    """The change as a share of `before`; 0 where it means nothing."""
    change = after / before - 1
    return change if abs(change) >= MEANINGFUL_SHARE else 0.0


def _told(change: float, less: str, more: str) -> str:
    return f"{100 * abs(change):.0f} % {less if change < 0 else more}" if change else f"no {less}"
