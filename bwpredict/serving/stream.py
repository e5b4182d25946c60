"""Live forecasts for Python consumers that keep a state for each link: a minute of samples in, forecasts out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from bwpredict import schema
from bwpredict.datasets.frame import TelemetryFrame
from bwpredict.errors import InputError, ModelError
from bwpredict.inference.stream_model import LINKS_AT_A_TIME, Step, StreamModel, open_stream, positions_by_value
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.serving.adaptive_intervals import AdaptiveIntervals, Link, keep_rows, rows_of
from bwpredict.serving.contract import ServingContract, contract_of, require_same
from bwpredict.serving.delivery import read_stream, require_signature, resolve_current
from bwpredict.serving.inputs import require_distinct
from bwpredict.serving.predictor import Forecasts, named_forecasts
from bwpredict.store.files import atomic_path

LONGEST_GAP_MINUTES = 1440
"""A longer gap counts as one of a day: by then the longest moving average has faded."""
WARM_SHARE = 0.99
"""Of the links that are warm with the model before, until the next one takes over: some links go silent."""
_FORMAT = 2

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StreamForecasts:
    """What a step says of the links whose samples it took."""

    forecasts: Forecasts
    """At the contract's horizon, with intervals that follow each link."""
    links: list[Link]
    """[n]"""
    warm: npt.NDArray[np.bool_]
    """[n], whether the link has been followed for the model's warm-up time."""
    horizons_minutes: tuple[float, ...]
    quantile_levels: tuple[float, ...]
    quantiles: Floats
    """[n, horizons, quantiles, targets], raw units."""
    late: list[Link]
    """Links whose sample was not newer than their last one; it was left out."""
    early: list[Link]
    """Links whose sample is more than one cadence in the future; it was left out."""


@dataclass
class _Fleet:
    """One model and what it remembers of each link; a row of each array belongs to one link."""

    model: StreamModel
    folder: Path
    contract: ServingContract
    row: dict[Link, int] = field(default_factory=dict)
    state: Floats = field(init=False)
    first_at: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    last_at: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Unix seconds of the first and the last sample; 0: none yet."""
    intervals: AdaptiveIntervals = field(init=False)

    def __post_init__(self) -> None:
        """No link is known yet."""
        self.state = self.model.empty_state(0)
        self.intervals = AdaptiveIntervals(self.model.cadence_seconds, 60 * self.model.horizon_minutes)

    def rows_of(self, links: Sequence[Link]) -> npt.NDArray[np.int64]:
        """[n], with new rows for links that are new."""
        rows = rows_of(self.row, links)
        missing = len(self.row) - len(self.last_at)
        if missing:
            self.state = np.concatenate((self.state, self.model.empty_state(missing)))
            nothing = np.zeros(missing, np.int64)
            self.first_at, self.last_at = (np.concatenate((each, nothing)) for each in (self.first_at, self.last_at))
            self.intervals.grow(len(self.row))
        return rows

    def forget(self, before: int) -> int:
        """Drop the links without a sample since `before`; how many."""
        known, kept = len(self.row), keep_rows(self.row, self.last_at, before)
        if forgotten := known - len(kept):
            self.state, self.first_at, self.last_at = self.state[kept], self.first_at[kept], self.last_at[kept]
            self.intervals.keep(kept)
        return forgotten

    def step(self, rows: npt.NDArray[np.int64], samples: Floats, at: int) -> Step:
        """Samples [n, features] of one moment to forecasts, with intervals that follow each link; no `next_state`.

        Some links at a time: what is in between takes more memory for each link than what is remembered of it.
        """
        parts = [slice(begin, begin + LINKS_AT_A_TIME) for begin in range(0, max(len(rows), 1), LINKS_AT_A_TIME)]
        return Step.joined([self._step(rows[part], samples[part], at) for part in parts])

    def _step(self, rows: npt.NDArray[np.int64], samples: Floats, at: int) -> Step:
        self._skip_to(rows, at)
        self.intervals.learn(rows, at, samples[:, : len(schema.TARGETS)])
        answer = self._forecast(rows, samples, at)
        self.first_at[rows] = np.where(self.first_at[rows] > 0, self.first_at[rows], at)
        self.last_at[rows] = at
        return answer

    def _forecast(self, rows: npt.NDArray[np.int64], samples: Floats, at: int) -> Step:
        answer = self.model.step(samples[:, None], self.state[rows])
        self.state[rows] = answer.next_state
        lower, upper = self.intervals.widen(rows, answer.output, answer.lower, answer.upper)
        self.intervals.remember(rows, at, lower, upper)
        return answer._replace(lower=lower, upper=upper, next_state=self.model.empty_state(0))

    def _skip_to(self, rows: npt.NDArray[np.int64], at: int) -> None:
        """Feed the minutes that are missing between the links' last samples and `at`: a gap is an input too.

        Forecasts from the last minutes of a gap are for moments after it, so the intervals learn from them.
        """
        cadence = self.model.cadence_seconds
        seconds = np.where(self.last_at[rows] > 0, at - self.last_at[rows], 0)
        gaps = np.round(seconds / cadence).astype(np.int64) - 1
        gaps = np.minimum(gaps, LONGEST_GAP_MINUTES * 60 // cadence)
        pending = 60 * self.model.horizon_minutes // cadence
        for gap in np.unique(gaps[gaps > pending]):
            which = rows[gaps == gap]
            nothing = np.full((len(which), int(gap) - pending, len(schema.FEATURES)), np.nan, np.float32)
            self.state[which] = self.model.follow(nothing, self.state[which])
        for before in range(min(pending, int(gaps.max(initial=0))), 0, -1):
            which = rows[gaps >= before]
            nothing = np.full((len(which), len(schema.FEATURES)), np.nan, np.float32)
            self._forecast(which, nothing, at - before * cadence)

    def is_early(self, at: int, now: float) -> bool:
        """Whether samples of `at` are in the future at `now`; clocks may differ by one cadence."""
        return at > now + self.model.cadence_seconds

    def warm(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """[n], whether each link has been followed for the warm-up time."""
        followed = self.last_at[rows] - self.first_at[rows]
        return (self.last_at[rows] > 0) & (followed >= 60 * (self.model.warm_up_minutes - 1))


class Stream:
    """Forecasts of all links, minute by minute, with the model in a folder that `bwpredict pull` keeps.

    Many threads may use one; steps are taken one after another. `reload` warms a new model beside the old one, which
    stays in use until the new one has followed the links for its warm-up time.

    After a gap of at most `LONGEST_GAP_MINUTES`, forecasts and intervals are those of a stream that received every
    missing minute; after a swap, they are those of a stream that began with the new model at the reload.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        contract: ServingContract | None = None,
        trusted: TrustedKeys | None = None,
        threads: int = 1,
    ) -> None:
        """Load the model that the folder holds now; no link is known yet.

        Args:
            contract: what the caller was built for; by default what this version of bwpredict makes.
            trusted: keys of which one must have signed each version; None: no signature is asked for.
            threads: of one step, inside ONNX Runtime.

        Raises:
            ContractChangedError, SignatureError, ModelError, DocumentError: the model cannot be served.
        """
        self._folder, self._contract, self._trusted = Path(folder), contract or ServingContract(), trusted
        self._threads = threads
        self._lock = threading.Lock()
        self._fleet = self._load(resolve_current(self._folder))
        self._next: _Fleet | None = None

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._fleet.model.version

    @property
    def warming(self) -> str | None:
        """The version that takes over once it is warm; None: there is none."""
        following = self._next
        return following.model.version if following else None

    @property
    def links(self) -> list[Link]:
        """The links that are known."""
        with self._lock:
            return list(self._fleet.row)

    def step(
        self,
        links: Sequence[Link],
        samples: npt.NDArray[np.floating[Any]],
        *,
        columns: Sequence[str],
        at: int,
        now: float | None = None,
    ) -> StreamForecasts:
        """Take the samples of one minute, and forecast from them.

        Links may be left out, and new ones may appear. A sample that is not newer than its link's last one is left
        out (`late`), and so is one that is more than one cadence in the future (`early`): it would make the link's
        real samples late. Minutes that were skipped count as missing.

        Args:
            links: (node_id, peer_id) of each row, none twice.
            samples: [n, features], raw units; NaN where a value is missing.
            columns: names of the samples' columns, in their order: the model's, or the call is refused.
            at: unix second (UTC) of the samples.
            now: unix second; by default the clock's.

        Raises:
            InputError: shape, order or a value are not what the model was made for; nothing is changed.
            ModelError: ONNX Runtime failed.
        """
        given = _checked(links, samples, columns)
        with self._lock:
            fleet = self._fleet
            early = list(links) if fleet.is_early(at, time.time() if now is None else now) else []
            if early:
                links, given = [], given[:0]
            rows = fleet.rows_of(links)
            fresh = fleet.last_at[rows] < at
            taken = [link for link, new in zip(links, fresh, strict=True) if new]
            late = [link for link, new in zip(links, fresh, strict=True) if not new]
            answer = fleet.step(rows[fresh], given[fresh], at)
            warm = fleet.warm(rows[fresh])
            if self._next:
                self._next.step(self._next.rows_of(taken), given[fresh], at)
                self._take_over_when_warm(taken)
        return _named(fleet, answer, taken, at, warm=warm, late=late, early=early)

    def warm_up(self, history: TelemetryFrame, *, now: float | None = None) -> None:
        """Follow the links through telemetry of the past, forecasting nothing; a link continues from its last sample.

        Args:
            history: its samples have the model's cadence.
            now: unix second; by default the clock's.

        Raises:
            InputError: the history has another cadence than the model, or reaches into the future; nothing is changed.
        """
        moment = time.time() if now is None else now
        newest = int(history.timestamps.max(initial=0))
        with self._lock:
            if self._fleet.is_early(newest, moment):
                raise InputError(
                    f"the history's newest sample is {newest - moment:.0f} s in the future;"
                    " expected unix seconds (UTC) of the past."
                )
            for fleet in (self._fleet, *([self._next] if self._next else [])):
                links = _follow(fleet, history)
            self._take_over_when_warm(links)

    def forget(self, before: int) -> int:
        """Drop the states of links that are gone for good, and return their number; one that comes back is new.

        Args:
            before: unix second; links without a sample since then are dropped.
        """
        with self._lock:
            if self._next:
                self._next.forget(before)
            return self._fleet.forget(before)

    def reload(self) -> bool:
        """Begin to warm the model that the folder holds now, if it is another one; whether it is.

        Raises:
            BwPredictError: it cannot be served; the one that serves stays in use.
        """
        folder = resolve_current(self._folder)
        with self._lock:
            newest = self._next or self._fleet
            if folder == newest.folder:
                return False
            self._next = self._load(folder)
            if not self._fleet.row:
                self._fleet, self._next = self._next, None
            return True

    def snapshot(self, path: Path) -> Path:
        """Write what is remembered of all links to a file (`.npz`), atomically."""
        with self._lock:
            fleet = self._fleet
            told = {"format": _FORMAT, "version": fleet.model.version, "state_version": fleet.model.state_version}
            arrays = {
                "links": np.array(list(fleet.row), np.int64).reshape(-1, 2),
                "state": fleet.state,
                "first_at": fleet.first_at,
                "last_at": fleet.last_at,
                **fleet.intervals.arrays(),
            }
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, told=np.array(json.dumps(told)), **arrays)  # type: ignore[arg-type]
        return path

    def restore(self, path: Path) -> None:
        """Go on from a file that `snapshot` wrote; what was remembered before is forgotten.

        Raises:
            ModelError: the file cannot be read, or belongs to another model; nothing is changed.
        """
        with self._lock:
            model = self._fleet.model
            arrays = _read_snapshot(path, model)
            links = [(int(node), int(peer)) for node, peer in arrays["links"]]
            fleet = _Fleet(model, self._fleet.folder, self._fleet.contract)
            fleet.rows_of(links)
            fleet.state[:], fleet.first_at[:], fleet.last_at[:] = (
                arrays[name] for name in ("state", "first_at", "last_at")
            )
            fleet.intervals.restore(arrays)
            self._fleet, self._next = fleet, None

    def _take_over_when_warm(self, links: Sequence[Link]) -> None:
        """The next model serves as soon as it is warm for nearly as many of these links as the one before."""
        following = self._next
        if following is None:
            return
        before, after = (fleet.warm(fleet.rows_of(links)).sum() for fleet in (self._fleet, following))
        if after and after >= WARM_SHARE * before:
            self._fleet, self._next = following, None

    def _load(self, folder: Path) -> _Fleet:
        content, metadata = read_stream(folder)
        require_signature(folder, self._trusted)
        contract = contract_of(metadata)
        require_same(self._contract, contract, model=f"{folder}: {metadata['version']}")
        return _Fleet(
            open_stream(content, threads=self._threads, name=str(folder), version=metadata["version"]), folder, contract
        )


def _checked(links: Sequence[Link], samples: npt.NDArray[np.floating[Any]], columns: Sequence[str]) -> Floats:
    """The samples as float32, if they are what a model takes."""
    if tuple(columns) != schema.FEATURES:
        raise InputError(
            f"the samples' columns are {', '.join(columns)}; expected, in this order: {', '.join(schema.FEATURES)}."
        )
    if samples.shape != (len(links), len(schema.FEATURES)) or not len(links):
        raise InputError(
            f"the samples have the shape {list(samples.shape)} for {len(links)} links;"
            f" expected [links, {len(schema.FEATURES)}], one link or more."
        )
    require_distinct(links, len(samples))
    given = samples.astype(np.float32)
    minimum, maximum = schema.physical_bounds(schema.FEATURES)
    wrong = (given < minimum) | (given > maximum) | np.isinf(given)
    if wrong.any():
        row, place = (int(each[0]) for each in np.nonzero(wrong))
        column = schema.COLUMN[schema.FEATURES[place]]
        raise InputError(
            f"link {links[row]}: {column.name} is {given[row, place]:g}; expected raw {column.unit or 'values'} from"
            f" {column.minimum} to {'any' if column.maximum is None else column.maximum}, or NaN where it is missing."
        )
    return given


def _named(
    fleet: _Fleet,
    answer: Step,
    links: list[Link],
    at: int,
    *,
    warm: npt.NDArray[np.bool_],
    late: list[Link],
    early: list[Link],
) -> StreamForecasts:
    found = {"output": answer.output, "lower": answer.lower, "upper": answer.upper}
    times = np.full(len(links), at, np.int64)
    return StreamForecasts(
        forecasts=named_forecasts(fleet.model.version, fleet.contract, found, times),
        links=links,
        warm=warm,
        horizons_minutes=fleet.model.horizons_minutes,
        quantile_levels=fleet.model.quantiles,
        quantiles=answer.quantiles,
        late=late,
        early=early,
    )


def _follow(fleet: _Fleet, history: TelemetryFrame) -> list[Link]:
    """Step through the history; its links."""
    if history.cadence_seconds != fleet.model.cadence_seconds:
        raise InputError(
            f"the history has a sample every {history.cadence_seconds} s; expected {fleet.model.cadence_seconds} s."
        )
    keys = [(int(node), int(peer)) for node, peer in history.links[list(schema.LINK_KEY)].to_numpy()]
    rows = fleet.rows_of(keys)
    for at, here in positions_by_value(history.timestamps):
        which = rows[history.link[here]]
        fresh = fleet.last_at[which] < at
        if fresh.any():
            fleet.step(which[fresh], np.asarray(history.values[here[fresh]], np.float32), at)
    return keys


def _read_snapshot(path: Path, model: StreamModel) -> dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = json.loads(str(arrays.pop("told")))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ModelError(f"{path}: is not a complete snapshot of a stream; warm up from history.") from error
    if told.get("format") != _FORMAT:
        raise ModelError(f"{path}: was written by another version of bwpredict; warm up from history.")
    expected = {"format": _FORMAT, "version": model.version, "state_version": model.state_version}
    if told != expected or arrays["state"].shape != (len(arrays["links"]), model.state_size):
        raise ModelError(
            f"{path}: holds the states of model {told.get('version')} (state version {told.get('state_version')});"
            f" expected those of {model.version} (state version {model.state_version}). Warm up from history."
        )
    return arrays
