"""The challenger of each month, made once by the pipeline's own steps; every way of deciding gets the same one."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from bwpredict.config import GatePolicy, RunConfig, TrainingConfig
from bwpredict.errors import BwPredictError, ModelError
from bwpredict.pipeline import steps
from bwpredict.pipeline.run_config import overridden
from bwpredict.registry.layout import onnx_name, stream_onnx_name
from bwpredict.store.files import write_atomically
from year.world import Month

POLICY = overridden(GatePolicy(), {"maximum_latency_p99_ms": 1000.0})
"""The default; how fast a file runs says something of the machine, which does other work meanwhile."""


@dataclass(frozen=True)
class Terms:
    """What every month has in common."""

    folder: Path
    """Holds all that is made, so that a benchmark that was cut off goes on."""
    days: int
    training: TrainingConfig
    test_windows: int = 10_000

    @property
    def telemetry(self) -> Path:
        """As it was collected."""
        return self.folder / "telemetry"

    def truth(self, month: Month) -> Path:
        """What happened in the month."""
        return self.folder / "truth" / month.name


@dataclass(frozen=True)
class Candidate:
    """The result of a month's training."""

    month: str
    version: str
    area: Path
    error: str = ""
    """Why there is no model, in a sentence; empty: there is one."""
    seconds: float = 0.0

    @property
    def onnx(self) -> Path:
        """Its file for windows."""
        return self.area / onnx_name(self.version)

    @property
    def stream(self) -> Path:
        """Its file for streams."""
        return self.area / stream_onnx_name(self.version)


def version_of(month: Month) -> str:
    """Named after the first midnight after the month, when its run is due."""
    after = date(month.start.year + month.start.month // 12, month.start.month % 12 + 1, 1)
    return f"v{after:%Y%m%d}_000000"


def run_of(month: Month, terms: Terms, registry: Path, policy: GatePolicy = POLICY) -> RunConfig:
    """The month's run."""
    return RunConfig(
        run_id=month.name,
        version=version_of(month),
        month=month.name,
        telemetry=str(terms.telemetry),
        registry=str(registry),
        code_version="benchmark",
        created_at=f"{month.start.isoformat()}T00:00:00+00:00",
        maximum_test_windows=terms.test_windows,
        training=terms.training,
        policy=policy,
    )


def make(month: Month, terms: Terms) -> Candidate:
    """Pull, train and export without validation, or what was made before."""
    work = terms.folder / "candidates"
    told = work / month.name / "candidate.json"
    if told.is_file():
        return Candidate(**json.loads(told.read_bytes()) | {"area": told.parent})
    began, error = time.monotonic(), ""
    reference = steps.plan(run_of(month, terms, terms.folder / "none"), work)
    try:
        if month.training_fails:
            raise ModelError(f"{month.name}: the training was killed.")
        for step in (steps.snapshot, steps.train, steps.export):
            reference = step(reference)
    except BwPredictError as problem:
        error = str(problem)
    made = Candidate(month.name, version_of(month), told.parent, error, round(time.monotonic() - began, 1))
    write_atomically(told, json.dumps(asdict(made) | {"area": ""}, default=str).encode())
    return made
