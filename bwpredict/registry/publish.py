"""Publish a challenger: files first, MANIFEST.json last, then the production pointer by compare-and-swap.

Nothing is uploaded before every refusal has been considered. Each write is create-only or a swap,
so a run that died anywhere is run again: files that are there with the same bytes count as finished.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bwpredict.errors import ConfigError, ConflictError, GateRejected, ObjectCorruptError
from bwpredict.registry.history import complete_history, read_record, record_names
from bwpredict.registry.layout import (
    DECISION_NAME,
    IMPORTED_NAME,
    MANIFEST_NAME,
    check_version,
    model_key,
    onnx_name,
    optional_files,
    required_files,
)
from bwpredict.registry.manifest import delete_manifest, write_manifest
from bwpredict.registry.pointer import Kind, Production, read_production
from bwpredict.registry.promotion import move_pointer, require_not_deleted
from bwpredict.registry.versions import Manifest
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of

_PUBLISHABLE = ("promote", "bootstrap")


def publish(
    store: Store,
    folder: Path,
    version: str,
    decision: Mapping[str, Any],
    *,
    month: str,
    promoted_by: str,
    now: datetime,
    reason: str | None = None,
    allow_older: bool = False,
) -> Production:
    """Publish the files of `version` in `folder` and put it into production, if its decision says so.

    These are all required ones, and the optional ones that are there.

    Args:
        decision: the gate's decision, the same as in `folder / "decision.json"`.
        month: the month (`YYYY-MM`) that the version was trained for.
        reason: what people overrode or approved, for the history.
        allow_older: move production although it serves a later month (a back-fill that is meant).

    Returns:
        The move that put the version into production: now, or when a run before this one did.

    Raises:
        ConfigError: not a version name, or a file is missing.
        GateRejected: the decision does not allow these bytes, or production serves a later month.
        ConflictError: production is no longer the champion that the decision compared with, or another
            model was published under this version.
        StoreError: as the store; run again.
    """
    check_version(version)
    names = _names(folder, version)
    sha256 = {name: sha256_of(folder / name) for name in names}
    _require_allowed(folder, version, month, decision, sha256[onnx_name(version)])

    current = read_production(store)
    if current and current.version == version:
        return complete_history(store, _require_same_bytes(store, current, sha256))
    earlier = _earlier_move(store, current, version)
    if earlier:
        return _require_same_bytes(store, earlier, sha256)
    _require_champion(store, current, version, decision)
    _require_not_older(current, version, month, allow_older=allow_older)

    manifest = Manifest(version, month, sha256)
    _upload(store, folder, manifest)
    kind: Kind = "bootstrap" if decision["outcome"] == "bootstrap" else "promotion"
    previous = current.version if current else None
    return move_pointer(
        store, manifest, current, kind=kind, previous=previous, promoted_by=promoted_by, now=now, reason=reason
    )


def _names(folder: Path, version: str) -> list[str]:
    required = required_files(version, trained_elsewhere=(folder / IMPORTED_NAME).is_file())
    missing = [name for name in required if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"{folder}: cannot publish {version} without {', '.join(sorted(missing))}; run the steps again."
        )
    return [*required, *(name for name in optional_files(version) if (folder / name).is_file())]


def _require_allowed(folder: Path, version: str, month: str, decision: Mapping[str, Any], onnx_sha256: str) -> None:
    """Fail closed: only a decision that passed, is about this version and about these bytes."""
    where = f"{folder / DECISION_NAME}"
    if _json(folder / DECISION_NAME) != dict(decision):
        raise GateRejected(f"{where}: is not the decision that was handed over; nothing was published.")
    if decision.get("passed") is not True or decision.get("outcome") not in _PUBLISHABLE:
        raise GateRejected(f"{where}: the outcome is {decision.get('outcome')!r}, so {version} is not published.")
    if (decision.get("version"), decision.get("month")) != (version, month):
        about = f"{decision.get('version')} for {decision.get('month')}"
        raise GateRejected(f"{where}: is about {about}, so {version} for {month} is not published.")
    if "champion_version" not in decision:
        raise GateRejected(f"{where}: does not say which champion it compared with, so {version} is not published.")
    if decision.get("challenger_sha256") != onnx_sha256:
        raise GateRejected(
            f"{folder / onnx_name(version)}: is not the file that was judged "
            f"(sha256 {onnx_sha256[:12]}…, judged {str(decision.get('challenger_sha256'))[:12]}…); not published."
        )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        return None


def _require_champion(store: Store, current: Production | None, version: str, decision: Mapping[str, Any]) -> None:
    serving = current.version if current else None
    if serving != decision["champion_version"]:
        raise ConflictError(
            f"{store.uri}: production is {serving or 'empty'}, but {version} was compared with "
            f"{decision['champion_version'] or 'no champion'}; compare again."
        )


def _require_not_older(current: Production | None, version: str, month: str, *, allow_older: bool) -> None:
    if current and month < current.month and not allow_older:
        raise GateRejected(
            f"{version} was trained for {month}, but production serves {current.version} of {current.month}; "
            "production moves to an earlier month only if the run asks for it (publish_past_months)."
        )


def _earlier_move(store: Store, current: Production | None, version: str) -> Production | None:
    """The move by which an earlier, interrupted run put this version into production, if another followed.

    Reads only the records that can tell; raises ObjectMissingError if a cleanup has deleted the version.
    """
    names = record_names(store, current)
    for name in names:
        if name.kind == "cleanup":
            require_not_deleted(store, read_record(store, name.key, current), version)
    return next((read_record(store, name.key, current) for name in names if name.version == version), None)


def _require_same_bytes(store: Store, production: Production, sha256: Mapping[str, str]) -> Production:
    if production.sha256 != sha256[onnx_name(production.version)]:
        raise ConflictError(
            f"{store.uri}: {production.version} was already published with another model; it was not changed."
        )
    return production


def _upload(store: Store, folder: Path, manifest: Manifest) -> None:
    for name, sha256 in manifest.sha256.items():
        stored = store.upload(folder / name, model_key(manifest.version, name))
        if stored != sha256:
            raise ObjectCorruptError(f"{folder / name}: changed while it was being published; run again.")
    _write_manifest(store, folder, manifest)


def _write_manifest(store: Store, folder: Path, manifest: Manifest) -> None:
    """Holds no time and no run, so that a retry writes the same bytes."""
    key = model_key(manifest.version, MANIFEST_NAME)
    files = [
        {"name": name, "size_bytes": (folder / name).stat().st_size, "sha256": sha256}
        for name, sha256 in manifest.sha256.items()
    ]
    document = {"version": manifest.version, "month": manifest.month, "files": files}
    try:
        store.write(key, write_manifest("manifest", document, name=key), if_etag=None)
    except ConflictError as error:
        if delete_manifest("manifest", store.read(key)[0], name=f"{store.uri}/{key}") != document:
            sentence = f"{store.uri}/{key}: {manifest.version} was published before, with other files; left as it is."
            raise ConflictError(sentence) from error
