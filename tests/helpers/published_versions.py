"""Registries with versions that have real documents, for what shows a registry to people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sample_documents import sample_comparison, sample_decision, sample_metadata, sample_run, sample_validation

from bwpredict.documents import write_document
from bwpredict.registry.layout import metadata_name, onnx_name, required_files
from bwpredict.registry.promotion import Production
from bwpredict.registry.publish import publish
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

FIRST = datetime(2026, 8, 1, 9, 30, tzinfo=UTC)


def published_months(uri: str, folder: Path, count: int, **changes: Any) -> list[Production]:
    """One version for each month from 2026-07 on, each promoted over the one before; `changes` to the decisions."""
    store, moves = open_store(uri), []
    for number in range(count):
        champion = moves[-1].version if moves else None
        moves.append(published_month(store, folder, number, champion=champion, **changes))
    return moves


def published_month(
    store: Store,
    folder: Path,
    number: int,
    *,
    champion: str | None = None,
    extra: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Production:
    """The version of one month, with documents as the steps write them, and `extra` files by name."""
    at = FIRST + timedelta(days=31 * number)
    version, month = f"{at:v%Y%m%d_%H%M%S}", f"{at.replace(day=1) - timedelta(days=1):%Y-%m}"
    folder = folder / version
    folder.mkdir(parents=True)
    comparison = sample_comparison(0.6 + 0.05 * (number % 8))
    run = sample_run(version=version, month=month, created_at=at.isoformat())
    for name in required_files(version):
        (folder / name).write_text(f"{name} of {version}")
    for name, content in (extra or {}).items():
        (folder / name).write_bytes(content)
    decision = sample_decision(comparison) | {
        "version": version,
        "month": month,
        "champion_version": champion,
        "run_id": f"run_{version}",
        "challenger_sha256": sha256_of(folder / onnx_name(version)),
        **({} if champion else {"outcome": "bootstrap", "case": "no_champion"}),
        **changes,
    }
    write_document(folder / "decision.json", "decision", decision)
    write_document(folder / "comparison.json", "comparison", comparison | {"challenger_version": version})
    validation = sample_validation()
    validation["checks"][1]["suite"] = "telemetry_distributions"
    write_document(folder / "validation.json", "validation", validation)
    write_document(folder / metadata_name(version), "model_metadata", sample_metadata(comparison, run=run))
    return publish(store, folder, version, decision, month=month, promoted_by=f"run run_{version}", now=at)
