"""Conformance vectors: inputs and the answers that every consumer must get, in any language and any runtime.

Windows for the one model, and for the model for streams sequences: minutes of a link, its state carried along.

They are published with each version as `conformance.json`; docs/other-languages.md shows how to use them.
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
from bwpredict.inference.stream_model import StreamModel, open_stream
from bwpredict.registry.layout import CONFORMANCE_NAME, onnx_name, stream_onnx_name
from bwpredict.store.files import sha256_of

Array = npt.NDArray[np.float32]

REAL_WINDOWS = 8
"""Windows of real telemetry among the vectors, beside the extreme ones."""
STREAM_OUTPUTS = ("output", *schema.INTERVAL_OUTPUTS)
GAP = slice(20, 25)
"""Minutes of the sequence with a gap that have no sample."""
REAL_SEQUENCES, SEQUENCE_MINUTES = 3, 40
RULE = (
    "For each output and target: |answer - expected| <= relative * max(|expected|, floor of the target);"
    " each case alone, and all of them in one batch."
)


def write_vectors(
    path: Path,
    model: Path,
    cases: Mapping[str, Array],
    *,
    version: str,
    relative: float,
    sequences: dict[str, Any] | None = None,
) -> Path:
    """Write what the model at `model` answers to each window of `cases` (name to [n, window_size, features]), alone.

    Args:
        relative: the tolerance of the rule: other runtimes and processors round differently.
        sequences: what `sequence_vectors` gives; None: the version has no model for streams.
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
        **({"sequences": sequences} if sequences else {}),
    }
    return write_document(path, "conformance", document)


def sequence_vectors(model: Path, samples: Array, *, relative: float) -> dict[str, Any]:
    """What the model for streams answers to samples [links, minutes, features], minute by minute, each link alone.

    One more sequence is the first with a gap and with single values that are missing.
    """
    stream = open_stream(model, threads=1)
    gap = samples[0].copy()
    gap[GAP] = np.nan
    gap[GAP.stop + 2, : len(schema.TARGETS)] = np.nan
    named = {**{f"real {number}": one for number, one in enumerate(samples, start=1)}, "gap": gap}
    return {
        "onnx_sha256": sha256_of(model),
        "state_size": stream.state_size,
        "relative": relative,
        "cases": [
            {
                "case": name,
                "input": [[None if np.isnan(value) else value for value in row] for row in one.tolist()],
                "outputs": {output: values[0].tolist() for output, values in _followed(stream, one[None]).items()},
            }
            for name, one in named.items()
        ],
    }


def check_folder(folder: Path, version: str) -> None:
    """Run the vectors in a version's folder on its model; a version from before there were any is not checked.

    Raises:
        ModelError: names the case, output and target whose answer is not the published one on this machine.
        DocumentError: `conformance.json` is no valid document.
    """
    path = folder / CONFORMANCE_NAME
    if path.is_file():
        vectors = read_document(path, "conformance")
        check_answers(folder / onnx_name(version), vectors)
        if "sequences" in vectors:
            check_sequences(folder / stream_onnx_name(version), vectors)


def check_sequences(model: Path, vectors: Mapping[str, Any]) -> None:
    """Compare the stream model's answers to the sequences, each alone and all in one batch, with the published ones.

    Raises:
        ModelError: as `check_folder`.
    """
    sequences = vectors["sequences"]
    if sha256_of(model) != sequences["onnx_sha256"]:
        raise ModelError(f"{model}: is not the model that its conformance vectors are about.")
    stream = open_stream(model, threads=1)
    samples = np.array([case["input"] for case in sequences["cases"]], np.float32)  # None becomes NaN
    alone = [_followed(stream, one[None]) for one in samples]
    by_minute = _minute_by_minute(vectors)
    for answers in (
        {name: np.concatenate([one[name] for one in alone]) for name in alone[0]},
        _followed(stream, samples),
    ):
        _hold(model, by_minute, {name: values.reshape(-1, values.shape[-1]) for name, values in answers.items()})


def _followed(stream: StreamModel, samples: Array) -> dict[str, Array]:
    """Each output [n, minutes, targets] for samples [n, minutes, features], one minute at a time from empty states."""
    state, found = stream.empty_state(len(samples)), []
    for minute in range(samples.shape[1]):
        step = stream.step(samples[:, minute : minute + 1], state)
        state = step.next_state
        found.append(step)
    return {name: np.stack([getattr(step, name) for step in found], axis=1) for name in STREAM_OUTPUTS}


def _minute_by_minute(vectors: Mapping[str, Any]) -> dict[str, Any]:
    """The sequences as vectors whose cases are the single minutes."""
    sequences = vectors["sequences"]
    cases = [
        {
            "case": f"{case['case']}, minute {minute}",
            "outputs": {name: values[minute] for name, values in case["outputs"].items()},
        }
        for case in sequences["cases"]
        for minute in range(len(case["input"]))
    ]
    tolerance = {**vectors["tolerance"], "relative": sequences["relative"]}
    return {"targets": vectors["targets"], "tolerance": tolerance, "cases": cases}


def check_answers(model: Path, vectors: Mapping[str, Any]) -> None:
    """Compare the model's answers to the vectors, each alone and all in one batch, with the published ones.

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
