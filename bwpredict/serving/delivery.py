"""Bring the model in production to where a consumer reads it: verified, switched at once, never taken away::

    DEST/bandwidth_lstm_production.onnx -> current/…      what a service opens; beside it the model for streams
         model_metadata_production.json -> current/…
         current -> versions/v20261101_000000             one rename switches model and metadata together
         versions/v20261101_000000/…                      the files as published, and the two names above
         built_for.json                                   the metadata whose contract the consumer was built for

A reader that resolves `current` once and opens both files below it gets a pair that belongs together, whatever
happens meanwhile.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from bwpredict.documents import read_document, write_document
from bwpredict.errors import BwPredictError, ConfigError, DocumentError, ModelError, ObjectCorruptError
from bwpredict.inference.guard import check_onnx
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.registry.layout import CONFORMANCE_NAME, ENVELOPE_NAME, metadata_name, onnx_name, stream_onnx_name
from bwpredict.registry.pointer import read_production
from bwpredict.registry.versions import fetch, read_manifest
from bwpredict.serving import conformance
from bwpredict.serving.contract import contract_of, require_same
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of

logger = logging.getLogger(__name__)

MODEL = "bandwidth_lstm_production.onnx"
STREAM_MODEL = "bandwidth_lstm_stream_production.onnx"
"""Where the version has one."""
METADATA = "model_metadata_production.json"
CURRENT = "current"
VERSIONS = "versions"
BUILT_FOR = "built_for.json"
_LOCK = ".pull.lock"
KEPT_VERSIONS = 3
"""The one that serves, and those before it: a reader may still be opening the files of the last one."""


@dataclass(frozen=True)
class Delivery:
    """The model that is in the folder now; `changed`: this delivery brought it."""

    version: str
    folder: Path
    changed: bool


def deliver(store: Store, dest: Path, *, accept_contract: bool = False, trusted: TrustedKeys | None = None) -> Delivery:
    """Make `dest` hold what is in production in `store`; if anything is wrong, `dest` stays as it is.

    Every file is checked against the manifest, the model against the pointer and its metadata, and the model must
    give the published answers on this machine. Asks the store once if nothing changed.

    Args:
        accept_contract: the consumer was changed for the contract of this model.
        trusted: keys of which one must have signed the version; None: no signature is asked for.

    Raises:
        ConfigError: nothing is in production.
        ContractChangedError: the model was made for another contract than the consumer in `dest` was built for.
        SignatureError: `trusted` is given and no such key signed the version.
        ObjectCorruptError, DocumentError, ModelError, StoreError: the version is incomplete, or fails verification.
    """
    production = read_production(store)
    if production is None:
        raise ConfigError(f"{store.uri}: nothing is in production yet, so there is nothing to pull.")
    version = production.version
    folder = dest.absolute() / VERSIONS / version
    with FileLock(dest / _LOCK):
        if _current(dest) == folder and _is_whole(folder, production.sha256):
            require_signature(folder, trusted)
            return Delivery(version, folder, changed=False)
        _fetch(store, version, production.sha256, folder)
        require_signature(folder, trusted)
        content, metadata = read_pair(folder)
        check_onnx(content, name=str(folder / MODEL))
        if "streaming" in metadata:
            check_onnx(read_stream(folder)[0], name=str(folder / STREAM_MODEL))
        if not accept_contract:
            _require_contract(dest, metadata)
        conformance.check_folder(folder, version)
        if accept_contract or not (dest / BUILT_FOR).is_file():
            write_document(dest / BUILT_FOR, "model_metadata", metadata)
        _switch(dest, folder)
        _forget_old(dest, folder)
    return Delivery(version, folder, changed=True)


def watch(deliver_once: Callable[[], Delivery], *, wait: Callable[[], bool]) -> None:
    """Deliver until `wait`, called in between, says True; a failure is logged once and changes nothing."""
    told = None
    while True:
        try:
            delivery = deliver_once()
            if delivery.changed or told:
                logger.info("%s serves in %s", delivery.version, delivery.folder)
            told = None
        except (BwPredictError, OSError) as error:
            if str(error) != told:
                logger.warning("%s The model that is there stays; trying again.", error)
            told = str(error)
        if wait():
            return


def read_pair(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The model and the metadata in one version's folder, which belong together.

    Raises:
        ModelError: they do not, or one is gone.
        DocumentError: the metadata is no valid document.
    """
    metadata = read_document(folder / METADATA, "model_metadata")
    return _content(folder / MODEL, metadata["onnx"]["sha256"]), metadata


def read_stream(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The model for streams and the metadata in one version's folder, which belong together.

    Raises:
        ModelError: the version has no model for streams, or it is not the one that the metadata describes.
        DocumentError: the metadata is no valid document.
    """
    metadata = read_document(folder / METADATA, "model_metadata")
    path = folder / STREAM_MODEL
    if "streaming" not in metadata:
        raise ModelError(f"{folder}: {metadata['version']} has no model for streams; serve windows, or retrain.")
    return _content(path, metadata["streaming"]["sha256"]), metadata


def resolve_current(dest: Path) -> Path:
    """The folder of the version that serves in `dest`. Raises ModelError where there is none."""
    folder = (dest / CURRENT).resolve()
    if not folder.is_dir():
        raise ModelError(f"{dest}: holds no model; run `bwpredict pull --dest {dest}` first.")
    return folder


def _content(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); pull again.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"{path}: is not the model that {METADATA} beside it describes; pull again.")
    return content


def _current(dest: Path) -> Path | None:
    link = dest / CURRENT
    return (dest.absolute() / link.readlink()) if link.is_symlink() else None


def _is_whole(folder: Path, sha256: str) -> bool:
    """Whether the delivered files are there as they were delivered: a person may have touched them."""
    try:
        _content(folder / MODEL, sha256)
        if "streaming" in read_document(folder / METADATA, "model_metadata"):
            read_stream(folder)
    except (ModelError, DocumentError):
        return False
    return True


def _fetch(store: Store, version: str, sha256: str, folder: Path) -> None:
    manifest = read_manifest(store, version)
    if manifest.sha256.get(onnx_name(version)) != sha256:
        raise ObjectCorruptError(f"{store.uri}: production.json and the manifest of {version} name different models.")
    stream = stream_onnx_name(version)
    published = [name for name in (CONFORMANCE_NAME, ENVELOPE_NAME, stream) if name in manifest.sha256]
    fetch(store, version, [onnx_name(version), metadata_name(version), *published], folder)
    links = {MODEL: onnx_name(version), METADATA: metadata_name(version)}
    if stream in published:
        links[STREAM_MODEL] = stream
    for link, name in links.items():
        _link(folder / link, name)
    if stream not in published and "streaming" in read_document(folder / METADATA, "model_metadata"):
        raise ObjectCorruptError(
            f"{store.uri}: the metadata of {version} names a stream model, but the manifest lacks {stream}: the version"
            " was published incomplete. Run `bwpredict rollback` or publish a new version."
        )


def require_signature(folder: Path, trusted: TrustedKeys | None) -> None:
    """Raise a SignatureError unless one of the keys signed the files of a version's folder; None asks for nothing."""
    if trusted is not None:
        version = folder.name
        wanted = (onnx_name(version), stream_onnx_name(version), metadata_name(version), CONFORMANCE_NAME)
        files = {name: sha256_of(folder / name) for name in wanted if (folder / name).is_file()}
        trusted.require(folder / ENVELOPE_NAME, folder.name, files)


def _require_contract(dest: Path, metadata: dict[str, Any]) -> None:
    if (dest / BUILT_FOR).is_file():
        built_for = contract_of(read_document(dest / BUILT_FOR, "model_metadata"))
        require_same(built_for, contract_of(metadata), model=f"{dest}: {metadata['version']}")


def _switch(dest: Path, folder: Path) -> None:
    """One rename: before it the old pair, after it the new one."""
    _link(dest / CURRENT, f"{VERSIONS}/{folder.name}")
    for name in (MODEL, METADATA):
        if not (dest / name).is_symlink():
            _link(dest / name, f"{CURRENT}/{name}")


def _link(path: Path, target: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)


def _forget_old(dest: Path, folder: Path) -> None:
    """Remove version folders beyond those kept, oldest delivery first; the present one never."""
    others = [each for each in (dest / VERSIONS).iterdir() if each.name != folder.name]
    others.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for old in others[KEPT_VERSIONS - 1 :]:
        shutil.rmtree(old)
