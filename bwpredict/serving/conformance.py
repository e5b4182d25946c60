"""Conformance vectors: inputs and the answers that every consumer must get, in any language and any runtime.

They are published with each version as `conformance.json`; docs/consumers.md tells how to use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from bwpredict import schema
from bwpredict.documents import read_document, write_document
from bwpredict.errors import ModelError
from bwpredict.inference.session import open_session
from bwpredict.registry.layout import CONFORMANCE_NAME, onnx_name
from bwpredict.store.files import sha256_of

Array = npt.NDArray[np.float32]

REAL_WINDOWS = 8
"""Windows of real telemetry among the vectors, beside the extreme ones."""
RULE = (
    "For each output and target: |answer - expected| <= relative * max(|expected|, floor of the target);"
    " each case alone, and all of them in one batch."
)


def write_vectors(path: Path, model: Path, cases: Mapping[str, Array], *, version: str, relative: float) -> Path:
    """Write what the model at `model` answers to each window of `cases` (name to [n, window_size, features]), alone.

    `relative` is the tolerance of the rule: other runtimes and processors round differently.
    """
    session = open_session(model, threads=1)
    named = {
        f"{name} {number}" if len(windows) > 1 else name: window
        for name, windows in cases.items()
        for number, window in enumerate(windows, start=1)
    }
    document = {
        "format": 1,
        "version": version,
        "onnx_sha256": sha256_of(model),
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
        "tolerance": {"rule": RULE, "relative": relative, "floors": dict(schema.MAPE_FLOORS)},
        "cases": [
            {
                "case": name,
                "input": window.tolist(),
                "outputs": {output: values[0].tolist() for output, values in _answers(session, window[None]).items()},
            }
            for name, window in named.items()
        ],
    }
    return write_document(path, "conformance", document)


def check_folder(folder: Path, version: str) -> None:
    """Run the vectors in a version's folder on its model; a version from before there were any is not checked.

    Raises:
        ModelError: names the case, output and target whose answer is not the published one on this machine.
        DocumentError: `conformance.json` is no valid document.
    """
    path = folder / CONFORMANCE_NAME
    if path.is_file():
        check_answers(folder / onnx_name(version), read_document(path, "conformance"))


def check_answers(model: Path, vectors: Mapping[str, Any]) -> None:
    """Hold the model's answers to the vectors, each alone and all in one batch, against the published ones.

    Raises:
        ModelError: as `check_folder`.
    """
    if sha256_of(model) != vectors["onnx_sha256"]:
        raise ModelError(f"{model}: is not the model that its conformance vectors are about.")
    cases = vectors["cases"]
    windows = np.array([case["input"] for case in cases], np.float32)
    session = open_session(model, threads=1)
    alone = [_answers(session, window[None]) for window in windows]
    _hold(model, vectors, {name: np.concatenate([one[name] for one in alone]) for name in alone[0]})
    _hold(model, vectors, _answers(session, windows))


def _hold(model: Path, vectors: Mapping[str, Any], answers: Mapping[str, Array]) -> None:
    tolerance, targets = vectors["tolerance"], vectors["targets"]
    floors = np.array([tolerance["floors"][target] for target in targets])
    for output in vectors["cases"][0]["outputs"]:
        expected = np.array([case["outputs"][output] for case in vectors["cases"]])
        allowed = tolerance["relative"] * np.maximum(np.abs(expected), floors)
        found = answers[output].astype(np.float64) if output in answers else np.full(expected.shape, np.nan)
        wrong = ~(np.abs(found - expected) <= allowed)  # NaN is wrong
        if wrong.any():
            case, target = (int(place[0]) for place in np.nonzero(wrong))
            raise ModelError(
                f"{model}: answers {found[case, target]:g} for {targets[target]} ({output}) in the case"
                f" {vectors['cases'][case]['case']!r}, expected {expected[case, target]:g} within"
                f" {allowed[case, target]:g}; this machine's ONNX Runtime cannot serve it."
            )


def _answers(session: ort.InferenceSession, windows: Array) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": windows}), strict=True))
