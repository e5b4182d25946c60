"""Overview of a registry: what is in production and since when, how accurate the versions are, what is new.

Only as much is read as is shown: two listings, the pointer, and three small documents for each version.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bwpredict.documents import decode_document
from bwpredict.errors import BwPredictError, StoreUnreachableError
from bwpredict.gate.decision import shown_outcome
from bwpredict.registry.history import read_record, record_names
from bwpredict.registry.layout import DECISION_NAME, is_version, metadata_name
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.versions import Manifest, find_manifest, read_file, read_manifest, version_folders
from bwpredict.store.base import Store

Document = dict[str, Any]

VERSIONS_ON_A_PAGE = 24
_MOVES = 12
_READERS = 8
"""Requests at a time; a registry on S3 answers each in some milliseconds."""


@dataclass(frozen=True)
class VersionSummary:
    """One published version; `problem` is set, and the rest empty, where its documents cannot be read."""

    version: str
    month: str = ""
    created_at: str = ""
    outcome: str = ""
    reason: str = ""
    champion_version: str | None = None
    average_correlation: float | None = None
    average_mape: float | None = None
    skill: dict[str, float | None] = field(default_factory=dict)
    """By target: 1 - MAE / MAE of the best simple baseline."""
    problem: str | None = None


@dataclass(frozen=True)
class Overview:
    """What serves, the latest moves (newest first), and one page of the versions (newest first)."""

    production: Production | None
    moves: list[Production]
    count: int
    """Number of all versions, incomplete ones included unless they would be on this page."""
    versions: list[VersionSummary]
    older: str | None
    """The version that the next page begins below; None: this is the last page."""


@dataclass(frozen=True)
class VersionDocuments:
    """The documents of one published version, each checked against its manifest; `files` names all its files.

    `comparison` and `validation` are empty where the version has none that can be read.
    """

    version: str
    month: str
    decision: Document
    metadata: Document
    comparison: Document
    validation: Document
    files: list[str]


def overview(store: Store, *, below: str | None = None, limit: int = VERSIONS_ON_A_PAGE) -> Overview:
    """The registry at a glance; `below` shows older versions than this one.

    Raises:
        StoreUnreachableError: the store does not answer.
        ObjectCorruptError, DocumentError: production.json or the history cannot be trusted.
    """
    production = read_production(store)
    names = record_names(store, production)[-_MOVES:]
    versions = version_folders(store)
    shown = [version for version in versions if below is None or version < below][-limit:]
    with ThreadPoolExecutor(_READERS) as pool:
        moves = list(pool.map(lambda name: read_record(store, name.key, production), names))
        found = list(pool.map(partial(_summary, store), shown))
    summaries = [summary for summary in found if summary]
    older = shown[0] if shown and shown[0] != versions[0] else None
    return Overview(production, moves[::-1], len(versions) - found.count(None), summaries[::-1], older)


def version_documents(store: Store, version: str) -> VersionDocuments:
    """Everything about one version that a person reads.

    Raises:
        ConfigError, ObjectMissingError, ObjectCorruptError, DocumentError: as `read_manifest` and `read_file`.
    """
    manifest = read_manifest(store, version)

    def document(kind: str, name: str, *, required: bool = False) -> Document:
        return _document(store, manifest, kind, name) if required or name in manifest.sha256 else {}

    return VersionDocuments(
        version=version,
        month=manifest.month,
        decision=document("decision", DECISION_NAME, required=True),
        metadata=document("model_metadata", metadata_name(version), required=True),
        comparison=document("comparison", "comparison.json"),
        validation=document("validation", "validation.json"),
        files=list(manifest.sha256),
    )


def announcement(store: Store, made: Production) -> Document:
    """Version, checksum, kind of move and the figures on the test span; small, and plain JSON.

    Raises:
        ObjectMissingError, ObjectCorruptError, DocumentError: the version's metadata cannot be read.
    """
    manifest = read_manifest(store, made.version)
    metadata = _document(store, manifest, "model_metadata", metadata_name(made.version))
    performance = metadata["performance_metrics"]
    return {
        "version": made.version,
        "sha256": made.sha256,
        "month": made.month,
        "kind": made.kind,
        "replaced": made.replaced,
        "metrics": {
            **{key: performance["overall"][key] for key in ("average_correlation", "average_mape")},
            "skill": {target: figures.get("skill") for target, figures in performance["per_target"].items()},
        },
    }


def _summary(store: Store, version: str) -> VersionSummary | None:
    """The summary, or the sentence that says why there is none: one bad version must not hide the others.

    None: the version is not completely published.
    """
    if not is_version(version):
        return VersionSummary(version, problem="is not a version name; the product never writes such a folder.")
    try:
        manifest = find_manifest(store, version)
        if manifest is None:
            return None
        decision = _document(store, manifest, "decision", DECISION_NAME)
        metadata = _document(store, manifest, "model_metadata", metadata_name(version))
    except StoreUnreachableError:
        raise
    except BwPredictError as error:
        return VersionSummary(version, problem=str(error))
    performance = metadata["performance_metrics"]
    return VersionSummary(
        version=version,
        month=decision["month"],
        created_at=metadata["created_at"],
        outcome=shown_outcome(decision),
        reason=decision["reason"],
        champion_version=decision["champion_version"],
        average_correlation=performance["overall"]["average_correlation"],
        average_mape=performance["overall"]["average_mape"],
        skill={name: figures.get("skill") for name, figures in performance["per_target"].items()},
    )


def _document(store: Store, manifest: Manifest, kind: str, name: str) -> Document:
    return decode_document(kind, read_file(store, manifest, name), name=f"{manifest.version}/{name}")
