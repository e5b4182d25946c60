"""Forecasts for Python consumers: numpy in, named forecasts with intervals out, from the folder that `pull` fills."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from bwpredict import schema
from bwpredict.errors import BwPredictError, ModelError
from bwpredict.inference.confidence import confidence, overall_confidence
from bwpredict.inference.session import open_session
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.serving.adaptive_intervals import AdaptiveIntervals, Link, rows_of
from bwpredict.serving.contract import ServingContract, contract_of, require_same
from bwpredict.serving.delivery import read_pair, require_signature, resolve_current
from bwpredict.serving.inputs import check_windows, require_distinct

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.floating[Any]]
_Found = dict[str, Array]
"""A model's outputs [n, targets] by name."""


@dataclass(frozen=True)
class TargetForecast:
    """The forecasts of one target for n windows, in its unit."""

    unit: str
    value: Array
    """[n]."""
    lower: Array | None
    """[n], the lower bound of the interval; None: the model has no intervals."""
    upper: Array | None
    confidence: Array | None
    """[n], 0 to 1, by the formula of `bwpredict.inference.confidence`; None as the bounds."""


@dataclass(frozen=True)
class Forecasts:
    """What one model says of n windows: every figure in it comes from the same version."""

    version: str
    valid_at: npt.NDArray[np.int64]
    """[n], the unix second (UTC) that each forecast is for."""
    interval_level: float | None
    """Share of the actual values that the intervals are made to hold."""
    targets: dict[str, TargetForecast]
    confidence: Array | None
    """[n], 0 to 1, over all targets."""

    def __getitem__(self, target: str) -> TargetForecast:
        """The forecasts of one target, such as `forecasts["throughput_mbps"]`."""
        return self.targets[target]


@dataclass(frozen=True)
class _Served:
    """A model that was loaded and checked: never changed, only replaced."""

    version: str
    folder: Path
    session: ort.InferenceSession
    contract: ServingContract
    outputs: tuple[str, ...]


@dataclass
class _IntervalsOfLinks:
    """What was learnt of each link's intervals; a reload keeps it, since models err alike on a link."""

    cadence_seconds: int
    horizon_seconds: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    row: dict[Link, int] = field(default_factory=dict)
    adaptive: AdaptiveIntervals = field(init=False)

    def __post_init__(self) -> None:
        self.adaptive = AdaptiveIntervals(self.cadence_seconds, self.horizon_seconds)

    def adapted(self, links: Sequence[Link], windows: Array, newest: npt.NDArray[np.int64], found: _Found) -> _Found:
        """The outputs with each link's own bounds, after learning from what the windows' samples say of earlier ones.

        An interval is learnt from once, and one for each minute: a call may come again, or with an older window.
        """
        lower_name, upper_name = schema.INTERVAL_OUTPUTS
        output, lower, upper = (np.asarray(values, np.float32) for values in found.values())
        with self.lock:
            rows = rows_of(self.row, links)
            self.adaptive.grow(len(self.row))
            for ago in reversed(range(windows.shape[1])):
                actual = np.asarray(windows[:, -1 - ago, : len(schema.TARGETS)], np.float32)
                self.adaptive.learn(rows, newest - ago * self.cadence_seconds, actual)
            lower, upper = self.adaptive.widen(rows, output, lower, upper)
            new = self.adaptive.due_at[rows].max(axis=1) < newest + self.horizon_seconds
            self.adaptive.remember(rows[new], newest[new], lower[new], upper[new])
        return found | {lower_name: lower, upper_name: upper}


class Predictor:
    """Forecasts with the model in a folder that `bwpredict pull` keeps; many threads may use one.

    A reload replaces the model between two calls: each answer is whole and from one version, and calls that are
    under way finish on the version that they began with. What cannot be served is refused, and the last good model
    stays.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        contract: ServingContract | None = None,
        trusted: TrustedKeys | None = None,
        maximum_age_seconds: float = 300,
        threads: int = 1,
    ) -> None:
        """Load the model that the folder holds now.

        Args:
            contract: what the caller was built for; by default what this version of bwpredict makes.
            trusted: keys of which one must have signed each version; None: no signature is asked for.
            maximum_age_seconds: how old the newest sample of a window may be when `predict` is called.
            threads: of one call, inside ONNX Runtime.

        Raises:
            ContractChangedError, SignatureError, ModelError, DocumentError: the model cannot be served.
        """
        self._folder = Path(folder)
        self._contract = contract or ServingContract()
        self._trusted = trusted
        self._maximum_age_seconds = maximum_age_seconds
        self._threads = threads
        self._reloading = threading.Lock()
        self._served = self._load(resolve_current(self._folder))
        of = self._served.contract
        self._intervals = _IntervalsOfLinks(of.cadence_seconds, 60 * of.horizon_minutes)

    @property
    def version(self) -> str:
        """The version that serves now."""
        return self._served.version

    def predict(
        self,
        windows: npt.NDArray[np.floating[Any]],
        *,
        columns: Sequence[str],
        newest_at: npt.ArrayLike,
        links: Sequence[Link] | None = None,
        now: float | None = None,
    ) -> Forecasts:
        """Forecasts for `windows` [n, window_size, features], raw units, oldest sample first.

        With `links`, intervals follow each link: wider after misses, narrower while they hold. Actual values are taken
        from the windows of later calls. Without, they are the model's own.

        Args:
            columns: names of the windows' columns, in their order: the model's, or the call is refused.
            newest_at: unix second (UTC) of each window's last sample, [n] or one for all.
            links: (node_id, peer_id) of each window, none twice.
            now: unix second; by default the clock's.

        Raises:
            InputError: shape, order, units, calendar or age are not what the model was made for; says which.
            ModelError: ONNX Runtime failed.
        """
        served = self._served  # read once: a reload meanwhile must not mix two models
        moment = time.time() if now is None else now
        newest = check_windows(windows, columns, newest_at, served.contract, moment, self._maximum_age_seconds)
        if links is not None:
            require_distinct(links, len(windows))
        try:
            outputs = served.session.run(served.outputs, {"input": np.ascontiguousarray(windows, np.float32)})
        except Exception as error:  # the runtime raises types of its own, with no common base
            raise ModelError(f"{served.folder}: ONNX Runtime cannot run {served.version}: {error}") from error
        found = dict(zip(served.outputs, outputs, strict=True))
        if links is not None and served.contract.interval_level is not None:
            found = self._intervals.adapted(links, windows, newest, found)
        return named_forecasts(served.version, served.contract, found, newest)

    def reload(self) -> bool:
        """Take the model that the folder holds now, if it is another one; whether it was.

        Raises:
            BwPredictError: it cannot be served; the one that served stays in use.
        """
        with self._reloading:
            folder = resolve_current(self._folder)
            if folder == self._served.folder:
                return False
            self._served = self._load(folder)
            return True

    def watch(self, stop: threading.Event, *, seconds: float = 10) -> threading.Thread:
        """Reload in a thread of its own until `stop` is set; what goes wrong is logged once, and the last good model
        stays.
        """
        thread = threading.Thread(target=self._watch, args=(stop, seconds), daemon=True)
        thread.start()
        return thread

    def _watch(self, stop: threading.Event, seconds: float) -> None:
        told = ""
        while not stop.wait(seconds):
            try:
                if self.reload():
                    logger.info("%s serves.", self.version)
                told = ""
            except (BwPredictError, OSError) as error:
                if str(error) != told:
                    logger.warning("%s %s goes on.", error, self.version)
                told = str(error)

    def _load(self, folder: Path) -> _Served:
        content, metadata = read_pair(folder)
        version = metadata["version"]
        require_signature(folder, self._trusted)
        contract = contract_of(metadata)
        require_same(self._contract, contract, model=f"{folder}: {version}")
        session = open_session(content, threads=self._threads)
        outputs = (contract.output_name, *(schema.INTERVAL_OUTPUTS if contract.interval_level is not None else ()))
        return _Served(version, folder, session, contract, outputs)


def named_forecasts(version: str, contract: ServingContract, found: _Found, newest: npt.NDArray[np.int64]) -> Forecasts:
    """A model's outputs [n, targets] by name, for samples whose newest are of `newest` [n], unix seconds."""
    output = found[contract.output_name]
    bounds = [found[name] for name in schema.INTERVAL_OUTPUTS if name in found]
    of_each = confidence(output, *bounds) if bounds else None
    targets = {
        name: TargetForecast(
            unit=unit,
            value=output[:, place],
            lower=bounds[0][:, place] if bounds else None,
            upper=bounds[1][:, place] if bounds else None,
            confidence=None if of_each is None else of_each[:, place],
        )
        for place, (name, unit) in enumerate(contract.targets)
    }
    return Forecasts(
        version=version,
        valid_at=newest + 60 * contract.horizon_minutes,
        interval_level=contract.interval_level,
        targets=targets,
        confidence=overall_confidence(output, *bounds) if bounds else None,
    )
