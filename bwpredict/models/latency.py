"""How long one forecast takes; a reference graph, timed beside it, tells whether the machine was quiet enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser

from bwpredict.core.guide import GUIDE_LATENCY_MS
from bwpredict.inference.session import REFERENCE_SIZE, best_of_rounds, was_busy


def reference_graph(path: Path) -> Path:
    """Write the reference: one matrix product, which takes a fraction of a millisecond on an idle core."""
    shape = f"float[{REFERENCE_SIZE}, {REFERENCE_SIZE}]"
    text = f"""<ir_version: 9, opset_import: ["" : 17]>
        reference ({shape} input) => ({shape} output) {{ output = MatMul(input, input) }}"""
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def latency_document(durations_ms: npt.NDArray[np.float64], reference_ms: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The `latency` document, of the best of all rounds for each run: what others do on the machine can only slow it.

    Args:
        durations_ms: of the model's single-window runs [rounds, runs].
        reference_ms: of the reference's runs between them, [rounds, runs].
    """
    figures = (np.percentile(best_of_rounds(each), (50, 99)) for each in (durations_ms, reference_ms))
    model, reference = ({"p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)} for p50, p99 in figures)
    return {
        "batch": 1,
        "threads": 1,
        "runs": durations_ms.shape[1],
        "rounds": len(durations_ms),
        **model,
        "guide_ms": GUIDE_LATENCY_MS,
        "reference": reference,
        "busy": was_busy(reference_ms),
    }
