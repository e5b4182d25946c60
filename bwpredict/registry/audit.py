"""Audit a whole registry: re-hash every file, and check the history and the pointer against what they name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from bwpredict.core.progress_bar import track
from bwpredict.errors import DocumentError, ObjectCorruptError, ObjectMissingError
from bwpredict.registry.history import read_history, read_record
from bwpredict.registry.layout import MANIFEST_NAME, PRODUCTION_KEY, is_version, model_key, onnx_name
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.versions import Manifest, read_file, read_manifest
from bwpredict.store.base import Store

_Result = TypeVar("_Result")


@dataclass
class AuditReport:
    """What was found: `problems` are sentences that each name a key; `unfinished` are uploads without MANIFEST.json."""

    problems: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    versions: int = 0
    files: int = 0
    moves: int = 0


def audit_registry(store: Store) -> AuditReport:
    """Read everything under `models/` and `history/`, and `production.json`. Changes nothing.

    Raises:
        StoreUnreachableError: the store does not answer; that is no finding about what it holds.
    """
    found = AuditReport()
    production = _attempt(found, partial(read_production, store))
    history = _inspect_history(store, found)
    manifests = _inspect_versions(store, found)
    deleted = {version for made in history for version in made.deleted}
    for made in history:
        if made.version not in deleted:
            found.problems += _what_differs(store, made, made.record_key, manifests.get(made.version))
    if production:
        found.problems += _what_differs(store, production, PRODUCTION_KEY, manifests.get(production.version))
        found.problems += _wrong_candidate(store, production, manifests)
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _inspect_history(store: Store, found: AuditReport) -> list[Production]:
    """Every record on its own, so that each bad one is named, then all of them together."""
    attempts = [_attempt(found, partial(read_record, store, key)) for key in store.keys("history/")]
    _attempt(found, partial(read_history, store))
    found.moves = len(attempts)
    return [made for made in attempts if made]


def _inspect_versions(store: Store, found: AuditReport) -> dict[str, Manifest]:
    """Check each version against its manifest; returns the manifests that can be trusted."""
    names: dict[str, list[str]] = defaultdict(list)
    for key in store.keys("models/"):
        _, version, name = [*key.split("/", 2), ""][:3]
        if not is_version(version) or not name:
            found.problems.append(f"{store.uri}/{key}: belongs to no version; the product never writes such a file.")
        else:
            names[version].append(name)
    manifests = {}
    for version, present in track(sorted(names.items()), "Verifying", "versions", len(names)):
        if MANIFEST_NAME not in present:
            found.unfinished.append(version)
            continue
        found.versions += 1
        manifest = _attempt(found, partial(read_manifest, store, version))
        if manifest:
            manifests[version] = manifest
            _inspect_files(store, manifest, present, found)
    return manifests


def _inspect_files(store: Store, manifest: Manifest, present: list[str], found: AuditReport) -> None:
    for name in manifest.sha256:
        found.files += 1
        _attempt(found, partial(read_file, store, manifest, name))
    for name in sorted({*present} - {*manifest.sha256, MANIFEST_NAME}):
        key = model_key(manifest.version, name)
        found.problems.append(
            f"{store.uri}/{key}: is not listed in MANIFEST.json; remove it, or find out who wrote it."
        )


def _what_differs(store: Store, made: Production, key: str, manifest: Manifest | None) -> Iterator[str]:
    """Where a move's checksums are not those of the version that it names."""
    where = f"{store.uri}/{key}"
    if manifest is None:
        yield f"{where}: {made.version} is not completely published; restore it, or promote another version."
        return
    decision = made.decision["key"].rpartition("/")[2]
    for name, sha256 in {onnx_name(made.version): made.sha256, decision: made.decision["sha256"]}.items():
        if manifest.sha256.get(name) != sha256:
            yield f"{where}: was made for other bytes of {name} than {made.version} has; restore the version."


def _wrong_candidate(store: Store, made: Production, manifests: dict[str, Manifest]) -> Iterator[str]:
    tried = made.candidate
    if tried is None:
        return
    manifest = manifests.get(tried.version)
    if manifest is None or manifest.sha256.get(onnx_name(tried.version)) != tried.sha256:
        yield f"{store.uri}/{PRODUCTION_KEY}: its canary {tried.version} is not published with those bytes; end it."


def _attempt(found: AuditReport, check: Callable[[], _Result]) -> _Result | None:
    """The result of a check; what it refuses becomes a problem."""
    try:
        return check()
    except (DocumentError, ObjectCorruptError, ObjectMissingError) as error:
        found.problems.append(str(error))
        return None
