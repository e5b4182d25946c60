"""Export to ONNX, and the proof that the file does what the model does: parity, bounds, latency."""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from itertools import accumulate, cycle, takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes import common
from onnxscript import opset18
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from bwpredict import schema
from bwpredict.core.formatting import undefined_as_none
from bwpredict.errors import ModelError
from bwpredict.inference.guard import has_trees
from bwpredict.inference.session import BATCH_SIZES
from bwpredict.inference.stream_model import Step, StreamModel, open_stream
from bwpredict.models.compression import is_quantized
from bwpredict.models.features import LONGEST_STEP
from bwpredict.models.latency import latency_document, reference_graph
from bwpredict.models.network import QUANTILES, STATE_VERSION, Contract, Forecast, Forecaster, predict_all
from bwpredict.registry.layout import stream_onnx_name
from bwpredict.store.files import atomic_path

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

STREAM_CHECK_SAMPLES = 240
"""Minutes that a stream of a model trained elsewhere is followed for, one by one."""
PARITY_TOLERANCE = 1e-3
"""Largest |ONNX Runtime - torch| relative to max(|torch|, the target's MAPE floor): float32 keeps about 7 digits,
and exp() turns an absolute error of its argument into a relative one of its result."""
QUANTIZED_PARITY_TOLERANCE = 0.05
"""The same for int8 weights: 3.5 times the largest error measured, of 0.014 (5 models of calm fleets 0.002 to
0.014, one on Starlink recordings 0.006). What it costs in accuracy is for the comparison to tell."""
PROBE_TIMEOUT_SECONDS = 300
OPSET = 18
_TRACES: dict[tuple[Contract, str], ir.Model] = {}
"""What was traced in this process, by contract and architecture; with the weights of whichever model came first."""


class _LSTM(nn.Module):
    """An LSTM as the one operator that ONNX has for it; torch's exporter would unroll it over a fixed t."""

    w: Tensor
    r: Tensor
    b: Tensor

    def __init__(self, layer: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = layer.hidden_size
        given, before, *biases = (self._in_order(value) for value in layer.state_dict().values())
        self.register_buffer("w", given[None])
        self.register_buffer("r", before[None])
        self.register_buffer("b", torch.cat(biases)[None])

    def forward(self, sequence: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        batch, count = sequence.shape[0], sequence.shape[1]
        shapes = ([count, 1, batch, self.hidden_size], [1, batch, self.hidden_size], [1, batch, self.hidden_size])
        output, hidden, cell = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            [sequence.transpose(0, 1), self.w, self.r, self.b, None, *state],
            attrs={"hidden_size": self.hidden_size},
            dtypes=(torch.float32,) * 3,
            shapes=shapes,
            version=OPSET,
        )
        return output[:, 0].transpose(0, 1), (hidden, cell)

    def _in_order(self, gates: Tensor) -> Tensor:
        """torch's input, forget, cell, output as ONNX has them: input, output, forget, cell."""
        given, forget, cell, output = torch.split(gates, self.hidden_size)
        return torch.cat((given, output, forget, cell))


def _for_onnx(model: Forecaster) -> Forecaster:
    """A copy whose LSTMs are ONNX operators: it can be exported, not run."""
    exported = copy.deepcopy(model).eval()
    exported.lstm = nn.ModuleList(_LSTM(layer) for layer in exported.lstm if isinstance(layer, nn.LSTM))
    return exported


def outputs_of(model: Forecaster) -> tuple[str, ...]:
    """Names of what the window file gives, in order."""
    return ("output",) if not model.calibration_windows else ("output", *schema.INTERVAL_OUTPUTS)


def export_onnx(model: Forecaster, path: Path, properties: dict[str, Any], *, stream: Path | None = None) -> Path:
    """Write the window file: `input` [batch, window_size, features], with a free batch size.

    Its outputs are `output`, and `lower` and `upper` where the model has intervals.

    `stream` is where to write the stream file, whose inputs are `input` [batch, t, features] and `state` [batch, state
    size], with a free batch size and a free number of samples. Its outputs are those of `Forecast`.

    `properties` become metadata_props of both.
    """
    graph = _simplified(_traced(model))
    if stream is not None:
        _save(graph, stream, properties)
    _start_from_empty_state(graph, model)
    _save(_simplified(graph), path, properties)
    return path


def _traced(model: Forecaster) -> ir.Model:
    """The graph of the stream file with the model's weights, not yet simplified.

    A trace takes eight seconds and depends on the shapes of the weights alone, so a process traces each kind of network
    once. The window file is made from the same graph.
    """
    exported, kind = _for_onnx(model), (model.contract, model.architecture)
    if kind not in _TRACES:
        _TRACES[kind] = _trace(exported, model)
    graph = _TRACES[kind].clone()
    weights = {**dict(exported.named_parameters()), **dict(exported.named_buffers())}
    for name, value in graph.graph.initializers.items():
        value.const_value = ir.tensor(weights[name].detach().cpu().numpy(), name=name)
    return graph


def _trace(exported: Forecaster, model: Forecaster) -> ir.Model:
    samples = torch.zeros(2, model.contract.window_size, len(schema.FEATURES))
    batch, count = torch.export.Dim("batch"), torch.export.Dim("t", min=1, max=LONGEST_STEP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's internals, not about this model
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.export.export(
            exported,
            (samples, model.empty_state(2)),
            dynamic_shapes={"samples": {0: batch, 1: count}, "state": {0: batch}},
        )
        # The exporter would first decompose the program, which takes longer than to trace it, and ONNX has all of its
        # operators but two.
        vars(program)["run_decompositions"] = lambda _table: program
        translated = cast(
            "torch.onnx.ONNXProgram",
            torch.onnx.export(
                program,
                input_names=["input", "state"],
                output_names=list(Forecast._fields),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                optimize=False,  # `_simplified` does that
                custom_translation_table={torch.ops.aten.to.dtype: _cast, torch.ops.aten.rsub.Scalar: _subtract_from},
            ),
        )
    return translated.model


def _cast(values: Any, dtype: int) -> Any:
    """`aten.to.dtype` in ONNX."""
    return opset18.Cast(values, to=dtype)


def _subtract_from(values: Any, number: Any) -> Any:
    """`aten.rsub.Scalar` in ONNX: number - values."""
    return opset18.Sub(opset18.CastLike(number, values), values)


def _start_from_empty_state(graph: ir.Model, model: Forecaster) -> None:
    """Turn the graph of the stream file into that of the window file: one size of window, and a state of zeros."""
    window, state = graph.graph.inputs
    window.shape = ir.Shape(["batch", model.contract.window_size, len(schema.FEATURES)])
    tape = ir.tape.Tape()
    nothing = tape.initializer(ir.tensor(np.zeros((1, model.state_size), np.float32), name="empty_state"))
    size = tape.initializer(ir.tensor([model.state_size], name="state_size"))
    batch = tape.op("Shape", [window], {"start": 0, "end": 1})
    empty = tape.op("Expand", [nothing, tape.op("Concat", [batch, size], {"axis": 0})])
    for constant in tape.initializers:
        graph.graph.register_initializer(constant)
    graph.graph.insert_before(graph.graph[0], tape.nodes)
    state.replace_all_uses_with(empty)
    graph.graph.inputs.pop()
    del graph.graph.outputs[len(outputs_of(model)) :]
    for node in graph.graph:  # the shapes that were inferred hold for any number of samples
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def _simplified(graph: ir.Model) -> ir.Model:
    """Fold constants and remove unused nodes, in place.

    These are the passes of onnxscript's `optimize` without its rewriting rules. The rules take as long as the trace,
    and the file is no faster with them: ONNX Runtime applies its own.
    """
    common.InlinePass()(graph)
    fold_constants(graph, onnx_shape_inference=True)
    ir.passes.Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),  # removes the exporter's stack traces, which hold local paths
    )(graph)
    return graph


def _save(graph: ir.Model, path: Path, properties: dict[str, Any]) -> None:
    for key, value in sorted(properties.items()):
        graph.metadata_props[key] = value if isinstance(value, str) else json.dumps(value)
    with atomic_path(path) as temporary:
        ir.save(graph, temporary)


def model_properties(
    model: Forecaster, *, version: str, snapshot_id: str, calendar: schema.Calendar = schema.CALENDAR
) -> dict[str, Any]:
    """What the files tell of themselves: version, features, units, horizon, snapshot, intervals, and the stream."""
    contract = model.contract
    return {
        "version": version,
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
        "units": {name: schema.COLUMN[name].unit for name in schema.FEATURES},
        "window_size": contract.window_size,
        "horizon_minutes": contract.horizon_minutes,
        "cadence_seconds": contract.cadence_seconds,
        "calendar": calendar.sentence,
        "snapshot": snapshot_id,
        "streaming": streaming_contract(model, version),
        **({} if not model.calibration_windows else {"interval_level": schema.INTERVAL_LEVEL}),
    }


def streaming_contract(model: Forecaster, version: str) -> dict[str, Any]:
    """What a consumer of the stream file relies on."""
    return {
        "onnx": stream_onnx_name(version),
        "inputs": ["input", "state"],
        "outputs": list(Forecast._fields),
        "state_size": model.state_size,
        "state_version": STATE_VERSION,
        "horizons_minutes": list(model.contract.horizons_minutes),
        "quantiles": list(QUANTILES),
        "warm_up_minutes": int(model.warm_up_minutes),
        "largest_step": LONGEST_STEP,
    }


def check_export(model: Forecaster | None, path: Path, windows: Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the file in a fresh process on real and extreme windows; the parity and the latency document.

    Every output is checked, for every window in batches of several sizes and alone: with int8 weights they differ,
    since all windows of a batch share one scale of their activations. The largest error counts. Without its network
    (`model` None), a file is checked by its answers alone, and each case says whether all its forecasts are finite.

    `windows` [n, window_size, features] are real ones, raw units.

    Raises:
        ModelError: ONNX Runtime cannot load or run the file, or it lacks one of the model's outputs.
    """
    outputs = outputs_of(model) if model else ("output", *schema.INTERVAL_OUTPUTS)
    cases = {"real": windows, **extreme_windows(windows)}
    inputs = np.concatenate(list(cases.values()))
    served, *durations = _run_in_fresh_process(path, inputs, outputs)
    expected = predict_all(model, inputs) if model else {name: values[0] for name, values in served.items()}
    units = {name: _unit(expected[name]) for name in outputs}
    jumps = model is None and has_trees(path)
    parity = _parity_document(path, cases, served, units, jumps=jumps)
    if model is None:
        parity["jumps"] = jumps
        finite = np.isfinite(np.stack([served[name] for name in outputs]))
        for case, values in zip(parity["cases"], _by_case(finite, cases), strict=True):
            case["all_finite"] = bool(values.all())
        return parity, latency_document(*durations)
    difference = np.stack([np.abs(served[name].astype(np.float64) - expected[name]) for name in outputs])
    relative = difference / np.stack(list(units.values()))[:, None]
    parity["reference"] = "torch"
    parity["max_absolute_error"] = undefined_as_none(difference.max())
    parity["max_relative_error"] = undefined_as_none(relative.max())
    parity["outputs"] = {name: undefined_as_none(each.max()) for name, each in zip(outputs, relative, strict=True)}
    for case, values in zip(parity["cases"], _by_case(relative, cases), strict=True):
        case["max_relative_error"] = undefined_as_none(values.max())
    return parity, latency_document(*durations)


def _parity_document(
    path: Path, cases: dict[str, Array], served: dict[str, Array], units: dict[str, Doubles], *, jumps: bool
) -> dict[str, Any]:
    """What is checked of every file; nothing is compared yet.

    `served` has each output as [batch sizes, n, targets], `units` [n, targets] of differences. Forecasts of a file that
    `jumps`, and with int8 weights, may differ by more.
    """
    quantized = is_quantized(path)
    effects = [np.ptp(served[name].astype(np.float64), axis=0) / unit for name, unit in units.items()]
    minimum, maximum = schema.physical_bounds(schema.TARGETS)
    return {
        "reference": None,
        "onnx_checker": _checker_accepts(path),
        "max_absolute_error": None,
        "max_relative_error": None,
        "max_batch_effect": undefined_as_none(np.stack(effects).max()),
        "quantized": quantized,
        "tolerance": QUANTIZED_PARITY_TOLERANCE if quantized or jumps else PARITY_TOLERANCE,
        "all_finite": all(bool(np.isfinite(values).all()) for values in served.values()),
        "bounds_kept": all(bool(((values >= minimum) & (values <= maximum)).all()) for values in served.values()),
        "order_kept": _keeps_order(served),
        "batch_sizes": [*BATCH_SIZES, sum(map(len, cases.values()))],
        "outputs": dict.fromkeys(served),
        "cases": [{"case": name, "windows": len(case), "max_relative_error": None} for name, case in cases.items()],
    }


def _unit(forecasts: npt.NDArray[Any]) -> Doubles:
    """What differences from `forecasts` [..., targets] are relative to: their size, and a floor for each target."""
    floors = np.array([schema.MAPE_FLOORS[name] for name in schema.TARGETS])
    unit: Doubles = np.maximum(np.abs(forecasts.astype(np.float64)), floors)
    return unit


def _by_case(values: npt.NDArray[Any], cases: dict[str, Array]) -> list[npt.NDArray[Any]]:
    """`values` [..., n, targets] of each case."""
    return np.split(values, np.cumsum([len(case) for case in cases.values()])[:-1], axis=-2)


def check_stream(model: Forecaster, path: Path, samples: Array) -> dict[str, Any]:
    """Run the stream file over sequences [n, t, features] in steps of several sizes; its parity with torch.

    Values are missing in some of them. The quantiles and the next state are compared after each step.
    """
    given = samples.copy()
    given[::2, 3:6] = np.nan
    given[1::2, 5::7, :2] = np.nan
    stream = open_stream(path, threads=1)
    state, expected = stream.empty_state(len(given)), model.empty_state(len(given))
    worst, of_state = 0.0, 0.0
    edges = takewhile(lambda edge: edge < given.shape[1], accumulate(cycle((1, 2, 1, 7, 20))))
    for step in np.split(given, list(edges), axis=1):
        answer = stream.step(step, state)
        with torch.inference_mode():
            torch_step = model(torch.from_numpy(step), expected)
        state, expected, wanted = answer.next_state, torch_step.next_state, torch_step.quantiles.numpy()
        worst = max(worst, float((np.abs(answer.quantiles - wanted) / _unit(wanted)).max()))
        of_state = max(of_state, float(np.abs(state - expected.numpy()).max()))
    return {"max_relative_error": worst, "max_state_error": of_state, "samples": given.shape[1], "links": len(given)}


def check_stream_file(path: Path, samples: Array) -> dict[str, Any]:
    """Check a file for streams without its network, by its answers alone, on sequences [n, t, features].

    Forecasts must not depend on the minutes of a step, nor on the other links of the batch. The last minutes are
    compared, of which the last but one is missing.

    Raises:
        ModelError: it cannot be run, or forecasts what is not finite from the empty state or from missing values.
    """
    stream = open_stream(path, threads=1)
    given = samples[:, :STREAM_CHECK_SAMPLES].copy()
    given[::2, 3:6] = np.nan
    given[:, -2] = np.nan
    never_seen = np.full_like(given[:, :1], np.nan)
    first = stream.step(never_seen, stream.empty_state(len(given)))
    answers = [_answers_at_end(stream, given, step) for step in (1, min(7, stream.largest_step))]
    alone = [_answers_at_end(stream, given[place : place + 1], 1) for place in range(len(given))]
    answers.append(Step(*(np.concatenate(each) for each in zip(*alone, strict=True))))
    if not all(np.isfinite(values).all() for answer in (first, *answers) for values in answer):
        raise ModelError(
            f"{path.name}: forecasts are not finite for a stream; expected finite ones from a state of zeros, which"
            " means a link that was never seen, and where samples are missing (NaN)."
        )
    expected = answers[0].quantiles
    return {
        "max_relative_error": max(float((np.abs(one.quantiles - expected) / _unit(expected)).max()) for one in answers),
        "max_state_error": max(float(np.abs(one.next_state - answers[0].next_state).max()) for one in answers),
        "samples": given.shape[1],
        "links": len(given),
        "jumps": has_trees(path),
    }


def _answers_at_end(stream: StreamModel, samples: Array, length: int) -> Step:
    """The answer after all samples [n, t, features], followed from empty states in steps of this many."""
    state = stream.empty_state(len(samples))
    for begin in range(0, samples.shape[1], length):
        answer = stream.step(samples[:, begin : begin + length], state)
        state = answer.next_state
    return answer


def _keeps_order(served: dict[str, Array]) -> bool | None:
    """Whether lower <= output <= upper everywhere; None without intervals."""
    if not set(schema.INTERVAL_OUTPUTS) <= served.keys():
        return None
    lower, upper = (served[name] for name in schema.INTERVAL_OUTPUTS)
    return bool(((lower <= served["output"]) & (served["output"] <= upper)).all())


def extreme_windows(windows: Array) -> dict[str, Array]:
    """Windows at the edge of what can come: zeros, maxima seen and far beyond, constants, steps."""
    _, size, features = windows.shape
    maxima = windows.max(axis=(0, 1))
    beyond = np.minimum(maxima * 1e6 + 1e6, schema.physical_bounds(schema.FEATURES)[1])

    def repeated(sample: Array) -> Array:
        return np.broadcast_to(sample.astype(np.float32), (1, size, features)).copy()

    nothing = np.zeros(features, np.float32)
    step = repeated(nothing)
    step[:, size // 2 :] = maxima
    return {
        "zeros": repeated(nothing),
        "maxima": repeated(maxima),
        "far beyond the maxima": repeated(beyond),
        "constant": np.repeat(windows[:1, -1:], size, axis=1),
        "step from zero to the maxima": step,
    }


def _run_in_fresh_process(
    path: Path, inputs: Array, outputs: tuple[str, ...]
) -> tuple[dict[str, Array], Doubles, Doubles]:
    """Each output as [batch sizes, n, targets], and the durations of single-window runs and of the reference in ms."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder, "inputs.npy"), Path(folder, "outputs.npz")
        reference = reference_graph(Path(folder, "reference.onnx"))
        np.save(given, inputs)
        command = [sys.executable, "-m", "bwpredict.inference.session", *map(str, (path, reference, given, taken))]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=PROBE_TIMEOUT_SECONDS)  # noqa: S603
        except subprocess.CalledProcessError as error:
            last_line = (error.stderr.strip().splitlines() or ["no message"])[-1]
            raise ModelError(f"{path.name}: ONNX Runtime cannot run the model: {last_line}") from error
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{path.name}: ONNX Runtime did not finish within {PROBE_TIMEOUT_SECONDS} s.") from error
        with np.load(taken, allow_pickle=False) as results:
            found = {name: results[name] for name in results.files}
    durations_ms, reference_ms = found.pop("latency_ms"), found.pop("reference_ms")
    if set(found) != set(outputs):
        raise ModelError(f"{path.name}: has the outputs {sorted(found)}, expected {sorted(outputs)}.")
    return found, durations_ms, reference_ms


def _checker_accepts(path: Path) -> bool:
    try:
        onnx.checker.check_model(path, full_check=True)
    except onnx.checker.ValidationError as error:
        logger.error("%s: onnx.checker: %s", path.name, error)
        return False
    return True
