"""A registry whose models are real ONNX files with known answers, and telemetry to score them on."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

from challengers import a_challenger, published
from sample_documents import sample_comparison, sample_metadata
from tiny_onnx import last_value_onnx

from bwpredict.registry.canary import begin_canary
from bwpredict.registry.layout import metadata_name, onnx_name
from bwpredict.store.base import Store

PREVIOUS, PRODUCTION, CANARY = "v20261101_000000", "v20261102_000000", "v20261103_000000"
FIRST, DAY = date(2026, 10, 26), date(2026, 11, 2)
NOW = datetime(2026, 11, 5, 2, tzinfo=UTC)


def publish_model(store: Store, folder: Path, version: str, champion: str | None, factor: float) -> None:
    """A published version that forecasts `factor` times the last value, and claims a skill of 0."""
    made = a_challenger(folder, version, champion=champion)
    last_value_onnx(made.folder / onnx_name(version), factor=factor)
    comparison = sample_comparison()
    for figures in comparison["models"]["challenger"]["per_target"].values():
        figures["skill"] = 0.0
    (made.folder / "comparison.json").write_text(json.dumps(comparison))
    (made.folder / metadata_name(version)).write_text(json.dumps(sample_metadata(comparison)))
    sha256 = hashlib.sha256((made.folder / onnx_name(version)).read_bytes()).hexdigest()
    published(store, made.decided(challenger_sha256=sha256, month="2026-10"), month="2026-10")


def publish_three(store: Store, folder: Path, *, factor: float = 1.0, share: float = 0.4) -> None:
    """One before production, one in production (`factor`), and a canary that is as good as the last value."""
    publish_model(store, folder, PREVIOUS, None, 1.1)
    publish_model(store, folder, CANARY, PREVIOUS, 1.0)
    publish_model(store, folder, PRODUCTION, CANARY, factor)
    if share:
        begin_canary(store, CANARY, share, made_by="me", now=NOW)
