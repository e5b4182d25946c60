"""The stream file in ONNX Runtime: a step for any number of links, and forecasts for the windows of an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bwpredict import schema
from bwpredict.datasets.sequences import Sequences
from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex
from bwpredict.errors import ModelError
from bwpredict.inference.onnx_model import (
    Bounds,
    Forecast,
    check_properties,
    check_tensor,
    decoded,
    first_line,
    open_model,
)

HISTORY_SECONDS = 3 * DAY_SECONDS
"""Telemetry before the first window that a link's state is carried over; the longest moving average is of a day."""
LINKS_AT_A_TIME = 1024
"""Of one run: memory grows with them."""
LARGEST_STATE, LARGEST_STEP = 1 << 16, 1440
"""Numbers of a link's state, and samples of one run, that a model trained elsewhere may ask for."""

Floats = npt.NDArray[np.float32]


class Step(NamedTuple):
    """Forecasts of n links from their last sample on, in raw units."""

    output: Floats
    """[n, targets], the median at the contract's horizon."""
    lower: Floats
    upper: Floats
    quantiles: Floats
    """[n, horizons, quantiles, targets]"""
    next_state: Floats
    """[n, state size]"""

    @classmethod
    def joined(cls, parts: list[Step]) -> Step:
        """Of the links of all parts, one or more, in their order."""
        return parts[0] if len(parts) == 1 else cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))


@dataclass(frozen=True)
class StreamModel:
    """A stream file that was opened and checked."""

    name: str
    session: ort.InferenceSession
    version: str
    window_size: int
    horizon_minutes: int
    cadence_seconds: int
    interval_level: float | None
    state_size: int
    state_version: int
    horizons_minutes: tuple[float, ...]
    quantiles: tuple[float, ...]
    warm_up_minutes: int
    largest_step: int

    def empty_state(self, links: int) -> Floats:
        """[links, state size]: never seen."""
        return np.zeros((links, self.state_size), np.float32)

    def step(self, samples: Floats, state: Floats) -> Step:
        """Samples [n, t, features], raw units, NaN where missing, and state [n, state size] to forecasts.

        Raises:
            ModelError: the state is not of this model's size and these links, or ONNX Runtime failed.
        """
        if state.shape != (len(samples), self.state_size):
            raise ModelError(
                f"{self.name}: was given a state of the shape {list(state.shape)}; expected"
                f" {[len(samples), self.state_size]} (state version {self.state_version}). A state of another model"
                " cannot be used: start from `empty_state`, and warm up from history."
            )
        if not len(samples):  # ONNX Runtime ends the process on an empty batch
            nothing = np.empty((0, len(schema.TARGETS)), np.float32)
            quantiles = np.empty((0, len(self.horizons_minutes), len(self.quantiles), len(schema.TARGETS)), np.float32)
            return Step(nothing, nothing, nothing, quantiles, self.empty_state(0))
        parts = [self._run(samples[begin : begin + LINKS_AT_A_TIME], state[begin : begin + LINKS_AT_A_TIME])
                 for begin in range(0, len(samples), LINKS_AT_A_TIME)]  # fmt: skip
        return Step.joined(parts)

    def follow(self, samples: Floats, state: Floats) -> Floats:
        """The state after samples [n, t, features] of any length t."""
        for begin in range(0, samples.shape[1], self.largest_step):
            state = self.step(samples[:, begin : begin + self.largest_step], state).next_state
        return state

    def _run(self, samples: Floats, state: Floats) -> Step:
        try:
            return Step(*self.session.run(list(Step._fields), {"input": samples, "state": state}))
        except Exception as error:  # ONNX Runtime's exceptions have no common base class
            raise ModelError(f"{self.name}: ONNX Runtime cannot run it: {first_line(error)}") from error


def open_stream(source: Path | bytes, *, threads: int, name: str = "", version: str = "") -> StreamModel:
    """The stream file at a path, or its bytes; `name` is what messages call it. As `stream_of`; raises ModelError."""
    return stream_of(open_model(source, threads, name=name), name or str(source), version=version)


def takes_state(session: ort.InferenceSession) -> bool:
    """Whether the model is one for streams, as its inputs tell."""
    return "state" in {tensor.name for tensor in session.get_inputs()}


def check_stream_contract(session: ort.InferenceSession, *, name: str, window_size: int, horizon_minutes: int) -> None:
    """As `onnx_model.check_served_contract`, of a file for streams.

    Raises:
        ModelError: names what is missing or different, and what was expected.
    """
    told = {key: decoded(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    size, horizons, quantiles = _streaming_figures(told.get("streaming"), name)
    features, targets = len(schema.FEATURES), len(schema.TARGETS)
    shapes = {
        "inputs": {"input": [None, None, features], "state": [None, size]},
        "outputs": {
            **{key: [None, targets] for key in ("output", *schema.INTERVAL_OUTPUTS)},
            "quantiles": [None, horizons, quantiles, targets],
            "next_state": [None, size],
        },
    }
    found = {"inputs": session.get_inputs(), "outputs": session.get_outputs()}
    for role, expected in shapes.items():
        names = {tensor.name for tensor in found[role]}
        if names != expected.keys():
            raise ModelError(f"{name}: has the {role} {sorted(names)}; expected those of a stream: {list(expected)}.")
        for tensor in found[role]:
            check_tensor(Path(name), role, [tensor], tensor.name, expected[tensor.name])
    required = {
        "horizon_minutes": horizon_minutes,
        "interval_level": schema.INTERVAL_LEVEL,
        "window_size": window_size,
        "features": list(schema.FEATURES),
        "targets": list(schema.TARGETS),
    }
    check_properties(Path(name), session, required, required=tuple(required))
    if not isinstance(told.get("cadence_seconds"), int):
        raise ModelError(f"{name}: has no property cadence_seconds; expected the seconds between two samples.")


def _streaming_figures(streaming: Any, name: str) -> tuple[int, int, int]:
    """The state's size and the numbers of horizons and quantiles, by the property `streaming`."""
    try:
        figures = _Streaming.model_validate(streaming)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(("streaming", *map(str, first["loc"])))
        raise ModelError(f"{name}: its property {key} is not usable ({first['msg']}); see docs/judge.md.") from error
    return figures.state_size, len(figures.horizons_minutes), len(figures.quantiles)


class _Streaming(BaseModel):
    """The property `streaming` of a file, as far as it is read."""

    model_config = ConfigDict(strict=True)

    state_size: int = Field(ge=1, le=LARGEST_STATE)
    state_version: int = Field(ge=1)
    horizons_minutes: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    quantiles: list[Annotated[float, Field(gt=0, lt=1)]] = Field(min_length=2)
    warm_up_minutes: int = Field(ge=0)
    largest_step: int = Field(ge=1, le=LARGEST_STEP)

    @field_validator("quantiles")
    @classmethod
    def _ascend(cls, levels: list[float]) -> list[float]:
        if not all(low < high for low, high in pairwise(levels)):
            raise ValueError("levels must ascend")
        return levels


def stream_of(session: ort.InferenceSession, name: str, *, version: str = "") -> StreamModel:
    """The model for streams in a session; `version` is what it was published as, empty: as its file says.

    Raises:
        ModelError: it is none, or was made for other columns; says what was found.
    """
    told = {key: decoded(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    streaming = told.get("streaming")
    inputs = {tensor.name for tensor in session.get_inputs()}
    if not isinstance(streaming, dict) or inputs != {"input", "state"}:
        raise ModelError(f"{name}: takes the inputs {sorted(inputs)}; expected those of a stream: ['input', 'state'].")
    wanted = {"features": list(schema.FEATURES), "targets": list(schema.TARGETS)}
    for key, expected in wanted.items():
        if told.get(key) != expected:
            raise ModelError(f"{name}: was made for {key} {told.get(key)}, expected {expected}.")
    if missing := [key for key in ("window_size", "horizon_minutes", "cadence_seconds") if key not in told]:
        raise ModelError(f"{name}: has no property {missing[0]}; see docs/judge.md.")
    _streaming_figures(streaming, name)
    return stream_with(session, told, name=name, version=version or str(told.get("version", "")))


def stream_with(session: ort.InferenceSession, told: Mapping[str, Any], *, name: str, version: str) -> StreamModel:
    """The model that a session runs, with what its properties tell of it."""
    streaming = told["streaming"]
    return StreamModel(
        name,
        session,
        version=version,
        interval_level=told.get("interval_level"),
        window_size=told["window_size"],
        horizon_minutes=told["horizon_minutes"],
        cadence_seconds=told["cadence_seconds"],
        state_size=streaming["state_size"],
        state_version=streaming["state_version"],
        horizons_minutes=tuple(streaming["horizons_minutes"]),
        quantiles=tuple(streaming["quantiles"]),
        warm_up_minutes=streaming["warm_up_minutes"],
        largest_step=streaming["largest_step"],
    )


def forecast_stream(model: StreamModel, index: WindowIndex, *, history_seconds: int = HISTORY_SECONDS) -> Forecast:
    """Forecasts for the last sample of each window, by streams that are followed from the history before them on.

    A link's state starts empty `history_seconds` before its first window and sees every sample since then, gaps
    included.

    Raises:
        ModelError: the model was made for another cadence or horizon than these windows have.
    """
    cadence = index.frame.cadence_seconds
    horizon_minutes = index.horizon_steps * cadence / 60
    if (model.cadence_seconds, model.horizon_minutes) != (cadence, horizon_minutes):
        raise ModelError(
            f"{model.name}: was made for samples every {model.cadence_seconds} s and {model.horizon_minutes} minutes"
            f" ahead, expected {cadence} s and {horizon_minutes:g} minutes."
        )
    found = [np.full((len(index), len(schema.TARGETS)), np.nan, np.float32) for _ in range(3)]
    if len(index):
        _follow_index(model, index, history_seconds, found)
    output, lower, upper = found
    level = model.interval_level
    return Forecast(output, None if level is None else Bounds(lower, upper, level))


def _follow_index(model: StreamModel, index: WindowIndex, history_seconds: int, found: list[Floats]) -> None:
    """Fill in the forecasts [windows, targets] of output, lower and upper."""
    sequences = Sequences.of(index, history_seconds=history_seconds)
    last = index.starts + index.window_size - 1
    link = np.searchsorted(sequences.links, index.frame.link[last])
    for begin in range(0, len(sequences), LINKS_AT_A_TIME):
        part = np.arange(begin, min(begin + LINKS_AT_A_TIME, len(sequences)))
        here = (link >= part[0]) & (link <= part[-1])
        times = index.frame.timestamps[last[here]]
        _follow_links(model, sequences, part, (np.nonzero(here)[0], link[here], times), found)


def _follow_links(
    model: StreamModel,
    sequences: Sequences,
    part: npt.NDArray[np.int64],
    wanted: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    found: list[Floats],
) -> None:
    """Follow some links side by side; `wanted`: window, link and time of each forecast.

    One run of the model takes a whole segment of a stream, but forecasts only at its end. So a first pass finds the
    state that each segment begins with, and a second one steps through many segments at once.
    """
    windows, links, times = wanted
    cadence, length = model.cadence_seconds, model.largest_step
    begin = int(sequences.spans[0][part].min())
    number, step = np.divmod(np.round((times - begin) / cadence).astype(np.int64), length)
    last = int(number.max())
    state = model.empty_state(len(part))
    segments: list[tuple[Floats, Floats]] = []
    row = np.full(len(windows), -1)
    for current in range(last + 1):
        samples = sequences.cut(part, np.full(len(part), begin + current * length * cadence), length)
        rows = np.flatnonzero(number == current)
        if len(rows):
            row[rows] = len(segments) * len(part) + links[rows] - part[0]
            segments.append((samples, state))
        if segments and (current == last or (len(segments) + 1) * len(part) > LINKS_AT_A_TIME):
            here = row >= 0
            _step_through(model, segments, (windows[here], row[here], step[here]), found)
            segments.clear()
            row[:] = -1
        if current < last:
            state = model.step(samples, state).next_state


def _step_through(
    model: StreamModel,
    segments: list[tuple[Floats, Floats]],
    wanted: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]],
    found: list[Floats],
) -> None:
    """Step segments (samples and first state) side by side; `wanted`: window, row and step of each forecast."""
    windows, row, steps = wanted
    samples, state = (np.concatenate(each) for each in zip(*segments, strict=True))
    past = 0
    for step, here in positions_by_value(steps):
        answer = model.step(samples[:, past : step + 1], state)
        state, past = answer.next_state, step + 1
        for values, answered in zip(found, answer[:3], strict=True):
            values[windows[here]] = answered[row[here]]


def positions_by_value(values: npt.NDArray[np.int64]) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """Each value, ascending, and the positions that have it."""
    order = np.argsort(values, kind="stable")
    found, firsts = np.unique(values[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, firsts[1:]), strict=True))
