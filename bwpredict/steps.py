"""The retraining run, one function for each arrow of the design: files in, files out.

Every step reads and writes the run's work area (one folder), so a step that is run again with the
same inputs writes the same outputs. Between steps only a `Reference` travels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bwpredict.config import RunConfig


@dataclass(frozen=True)
class Reference:
    """A file in a run's work area, by path and checksum: small enough for an XCom."""

    path: str
    sha256: str


def plan(run: RunConfig, work: Path) -> Reference:
    """Make the run's work area `work / run.run_id` and write `run.json` into it."""
    raise NotImplementedError


def pull(plan: Reference) -> Reference:
    """Copy the month's telemetry into the work area and pin it: `telemetry/`, `snapshot.json`."""
    raise NotImplementedError


def validate(snapshot: Reference) -> Reference:
    """Hold the snapshot against the suites: `validation/`, `profile.json`. Raises ValidationFailed."""
    raise NotImplementedError


def train(profile: Reference) -> Reference:
    """Fit the challenger on the snapshot's training part: `best_model.pth`, `history.json`."""
    raise NotImplementedError


def export(checkpoint: Reference) -> Reference:
    """Write the challenger as ONNX and check it in a fresh process: `*.onnx`, `parity.json`, `latency.json`."""
    raise NotImplementedError


def compare(export: Reference) -> Reference:
    """Score champion, challenger and baselines on the same test windows: `comparison.json`, plots, model card."""
    raise NotImplementedError


def decide(comparison: Reference) -> Reference:
    """Apply the gate policy: `decision.json`. A rejection is written, not raised."""
    raise NotImplementedError


def publish(decision: Reference) -> Reference:
    """Publish the challenger if its decision says so: `publication.json`. Raises GateRejected otherwise."""
    raise NotImplementedError
