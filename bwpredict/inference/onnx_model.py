"""Forecasts of a model from its published file, as a consumer gets them: ONNX Runtime on CPU."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from bwpredict import schema
from bwpredict.core.progress_bar import track
from bwpredict.datasets.windows import WindowIndex
from bwpredict.errors import ModelError
from bwpredict.inference.session import open_session

BATCH_WINDOWS = 1024
_FLOAT32 = "tensor(float)"


@dataclass(frozen=True)
class Bounds:
    """The intervals of n forecasts: [n, targets] each, raw units."""

    lower: npt.NDArray[np.float32]
    upper: npt.NDArray[np.float32]
    level: float
    """Share of the actual values that the model's file says they hold."""


@dataclass(frozen=True)
class Forecast:
    """What a model's file gives for n windows."""

    output: npt.NDArray[np.float32]
    """[n, targets], raw units."""
    bounds: Bounds | None
    """None: the model has no intervals."""


def forecast(
    path: Path, index: WindowIndex, *, batch_size: int = BATCH_WINDOWS, threads: int = 0
) -> npt.NDArray[np.float32]:
    """[windows, targets] in raw units: the forecasts of the model at `path` for all windows of the index.

    `threads` 0: one for each core. Forecasts that are not finite are returned as they are: it is for
    the gate to see them.

    Raises:
        ModelError: names the file that is missing, corrupt, fails to run, or was made for other inputs,
            another horizon or other outputs than these windows have; what was found and expected.
    """
    session = open_model(path, 1)
    _check_contract(path, session, index)
    return _outputs(path, session, index, ["output"], batch_size, threads)["output"]


def forecast_with_bounds(
    path: Path, index: WindowIndex, *, batch_size: int = BATCH_WINDOWS, threads: int = 0
) -> Forecast:
    """As `forecast`, with the intervals if the model has them.

    Raises:
        ModelError: as `forecast`; and for one bound without the other, or without a level.
    """
    session = open_model(path, 1)
    _check_contract(path, session, index)
    level = _interval_level(path, session)
    names = ["output"] if level is None else ["output", *schema.INTERVAL_OUTPUTS]
    found = _outputs(path, session, index, names, batch_size, threads)
    return Forecast(found["output"], None if level is None else Bounds(found["lower"], found["upper"], level))


def input_contract(path: Path) -> tuple[int, int]:
    """Window size and horizon in minutes that the model's file was made for.

    Raises:
        ModelError: the file is missing, corrupt or does not say.
    """
    session = open_model(path, 1)
    shape = session.get_inputs()[0].shape
    horizon = decoded(session.get_modelmeta().custom_metadata_map.get("horizon_minutes", ""))
    if len(shape) != 3 or not isinstance(shape[1], int) or not isinstance(horizon, int):
        raise ModelError(
            f"{path}: takes inputs of shape {shape}, horizon_minutes {horizon!r}; expected"
            f" ['batch', samples, {len(schema.FEATURES)}] and a whole number: a model that bwpredict exported."
        )
    return shape[1], horizon


def check_served_contract(session: ort.InferenceSession, *, name: str, window_size: int, horizon_minutes: int) -> None:
    """Refuse a model that consumers cannot use as they use those of this product, before it is run.

    The file `name` must say its horizon and the level of its intervals in its properties (metadata_props).

    Raises:
        ModelError: names what is missing or different, and what was expected.
    """
    path, outputs = Path(name), {output.name: output for output in session.get_outputs()}
    check_tensor(path, "inputs", session.get_inputs(), "input", [None, window_size, len(schema.FEATURES)])
    missing = [each for each in ("output", *schema.INTERVAL_OUTPUTS) if each not in outputs]
    if missing:
        raise ModelError(
            f"{name}: lacks the outputs {', '.join(missing)}; expected output, lower and upper, [batch,"
            f" {len(schema.TARGETS)}] each: consumers read the bounds of the {schema.INTERVAL_LEVEL:.0%} interval."
        )
    for each in ("output", *schema.INTERVAL_OUTPUTS):
        check_tensor(path, "outputs", [outputs[each]], each, [None, len(schema.TARGETS)])
    expected = {
        "horizon_minutes": horizon_minutes,
        "interval_level": schema.INTERVAL_LEVEL,
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
        "window_size": window_size,
    }
    check_properties(path, session, expected, required=("horizon_minutes", "interval_level"))


def check_properties(
    path: Path, session: ort.InferenceSession, expected: dict[str, Any], *, required: tuple[str, ...] = ()
) -> None:
    """Refuse a file whose property is another one, or that lacks a required one. Raises ModelError."""
    properties = session.get_modelmeta().custom_metadata_map
    for key, value in expected.items():
        if key not in properties and key in required:
            raise ModelError(
                f"{path}: has no property {key}; expected {json.dumps(value)}, as onnx.helper.set_model_props adds it."
            )
        if key in properties and decoded(properties[key]) != value:
            raise ModelError(f"{path}: was made for {key} {properties[key]}, expected {json.dumps(value)}.")


def _outputs(
    path: Path, session: ort.InferenceSession, index: WindowIndex, names: list[str], batch_size: int, threads: int
) -> dict[str, npt.NDArray[np.float32]]:
    """[windows, targets] for each of the outputs named.

    Threads run separate batches: the network is too small to split one batch over several threads.
    """
    found = {name: np.empty((len(index), len(schema.TARGETS)), np.float32) for name in names}
    batches = range(0, len(index), batch_size)

    def run(begin: int) -> None:
        batch = slice(begin, begin + batch_size)
        for name, values in zip(names, _run(path, session, index.inputs(batch), names), strict=True):
            found[name][batch] = values

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        for _ in track(pool.map(run, batches), "Forecasting", "batches", len(batches)):
            pass
    return found


def _interval_level(path: Path, session: ort.InferenceSession) -> float | None:
    """The level of the model's intervals; None if it has none."""
    outputs = {output.name: output for output in session.get_outputs()}
    bounds = [outputs[name] for name in schema.INTERVAL_OUTPUTS if name in outputs]
    if not bounds:
        return None
    for name in schema.INTERVAL_OUTPUTS:
        check_tensor(path, "intervals", [one for one in bounds if one.name == name], name, [None, len(schema.TARGETS)])
    level = decoded(session.get_modelmeta().custom_metadata_map.get("interval_level", ""))
    if not isinstance(level, float) or not 0 < level < 1:
        raise ModelError(
            f"{path}: has intervals of level {level!r}; expected a property interval_level within 0 and 1."
        )
    return level


def open_model(source: Path | bytes, threads: int, *, name: str = "") -> ort.InferenceSession:
    """The model in a file, or its bytes, in ONNX Runtime; `name` is what messages call it.

    Raises:
        ModelError: the file is missing, may not be loaded, or cannot be loaded.
    """
    name = name or str(source)
    if isinstance(source, Path) and not source.is_file():
        raise ModelError(f"{name}: no such file; expected an ONNX model.")
    try:
        return open_session(source, threads=threads)
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no common base class
        raise ModelError(f"{name}: ONNX Runtime cannot load it as a model: {first_line(error)}") from error


def _run(
    path: Path, session: ort.InferenceSession, windows: npt.NDArray[np.float32], names: list[str]
) -> list[npt.NDArray[np.float32]]:
    try:
        outputs: list[npt.NDArray[np.float32]] = session.run(names, {"input": windows})
    except Exception as error:  # see open_model
        raise ModelError(f"{path}: ONNX Runtime cannot run it: {first_line(error)}") from error
    expected = (len(windows), len(schema.TARGETS))
    for output in outputs:
        if output.shape != expected:
            raise ModelError(f"{path}: gave forecasts of shape {list(output.shape)}, expected {list(expected)}.")
    return outputs


def first_line(error: Exception) -> str:
    """What an exception says, without the lines that follow."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _check_contract(path: Path, session: ort.InferenceSession, index: WindowIndex) -> None:
    """Refuse a model whose forecasts for these windows would mean something else."""
    inputs, outputs = session.get_inputs(), {output.name: output for output in session.get_outputs()}
    check_tensor(path, "inputs", inputs, "input", [None, index.window_size, len(schema.FEATURES)])
    found = [outputs["output"]] if "output" in outputs else list(outputs.values())
    check_tensor(path, "outputs", found, "output", [None, len(schema.TARGETS)])
    horizon_minutes = index.horizon_steps * index.frame.cadence_seconds / 60
    expected: dict[str, Any] = {
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
        "horizon_minutes": horizon_minutes,
        "cadence_seconds": index.frame.cadence_seconds,
    }
    check_properties(path, session, expected)


def check_tensor(path: Path, role: str, found: list[Any], name: str, shape: list[int | None]) -> None:
    """Exactly one float32 tensor of this name and shape; None and a symbolic dimension stand for any size."""
    fits = (
        len(found) == 1
        and found[0].name == name
        and found[0].type == _FLOAT32
        and len(found[0].shape) == len(shape)
        and not isinstance(found[0].shape[0], int)
        and all(
            want is None or size == want or not isinstance(size, int)
            for size, want in zip(found[0].shape, shape, strict=True)
        )
    )
    if not fits:
        described = ", ".join(f"{tensor.name!r} {tensor.type} {tensor.shape}" for tensor in found) or "none"
        expected = f"{name!r} {_FLOAT32} {['batch', *shape[1:]]}"
        raise ModelError(f"{path}: {role} are {described}; expected {expected}.")


def decoded(text: str) -> Any:
    """A property of a model's file: JSON, or plain text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
