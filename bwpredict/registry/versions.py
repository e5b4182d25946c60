"""Published versions: what their manifests say, and files fetched and verified against them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bwpredict.errors import ConfigError, ObjectCorruptError, ObjectMissingError
from bwpredict.registry.layout import MANIFEST_NAME, model_key
from bwpredict.registry.manifest import delete_manifest
from bwpredict.store.base import Store, translate_os_errors
from bwpredict.store.files import atomic_path, sha256_of


@dataclass(frozen=True)
class Manifest:
    """The files of one published version: `sha256` by name, in the order they were uploaded.

    `month` is the month (`YYYY-MM`) that the version was trained for.
    """

    version: str
    month: str
    sha256: dict[str, str]


def list_versions(store: Store) -> list[str]:
    """Versions that are completely published, oldest first; one without MANIFEST.json is not there yet."""
    keys = (key.split("/") for key in store.keys("models/"))
    return sorted(parts[1] for parts in keys if len(parts) == 3 and parts[2] == MANIFEST_NAME)


def version_folders(store: Store) -> tuple[str, ...]:
    """Versions, oldest first, among them those that are being uploaded or never were to their end.

    Costs one request for each 1,000 versions, where `list_versions` costs one for each 1,000 files.
    """
    return store.folders("models/")


def find_manifest(store: Store, version: str) -> Manifest | None:
    """The manifest of a version; None: there is no such version that is completely published.

    Raises:
        ConfigError, ObjectCorruptError, DocumentError: as `read_manifest`.
    """
    key = model_key(version, MANIFEST_NAME)
    try:
        content, _ = store.read(key)
    except ObjectMissingError:
        return None
    document = delete_manifest("manifest", content, name=f"{store.uri}/{key}")
    if document["version"] != version:
        raise ObjectCorruptError(f"{store.uri}/{key}: is the manifest of {document['version']}, not that of {version}.")
    files = {file["name"]: file["sha256"] for file in document["files"]}
    return Manifest(version, document["month"], files)


def read_manifest(store: Store, version: str) -> Manifest:
    """The manifest of a published version.

    Raises:
        ConfigError: `version` is not a version name.
        ObjectMissingError: no such version; the sentence lists the newest ones that are there.
        ObjectCorruptError: the manifest is of another version, or not as it was written.
        DocumentError: the manifest is no valid document.
    """
    manifest = find_manifest(store, version)
    if manifest is None:
        known = ", ".join(list_versions(store)[-5:]) or "none"
        raise ObjectMissingError(f"{store.uri}: version {version} is not published; the newest published are: {known}.")
    return manifest


def verify_version(store: Store, version: str) -> Manifest:
    """Read every file of a version and hold it against the manifest, which is returned.

    Raises:
        ObjectCorruptError: names the first file that is gone or has other bytes.
    """
    manifest = read_manifest(store, version)
    for name in manifest.sha256:
        read_file(store, manifest, name)
    return manifest


def read_file(store: Store, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file of a version, which are those that the manifest lists.

    Raises:
        ConfigError: the version has no file of that name.
        ObjectCorruptError: the file is gone or has other bytes.
    """
    _require_file(store, manifest, name)
    key = model_key(manifest.version, name)
    try:
        content, _ = store.read(key)
    except ObjectMissingError as error:
        raise ObjectCorruptError(f"{store.uri}/{key}: is gone, but MANIFEST.json lists it.") from error
    _check_bytes(store, key, hashlib.sha256(content).hexdigest(), manifest.sha256[name])
    return content


def fetch(store: Store, version: str, names: Sequence[str], folder: Path) -> list[Path]:
    """Download the named files of a version into `folder`, each verified before it is seen there.

    A file that is there already with the right bytes is not downloaded again.

    Raises:
        ConfigError: the version has no file of that name.
        ObjectCorruptError: names the file whose bytes are not those of the manifest.
    """
    manifest = read_manifest(store, version)
    return [_fetch_file(store, manifest, name, folder / name) for name in names]


def _fetch_file(store: Store, manifest: Manifest, name: str, path: Path) -> Path:
    _require_file(store, manifest, name)
    if path.is_file() and sha256_of(path) == manifest.sha256[name]:
        return path
    key = model_key(manifest.version, name)
    with translate_os_errors(path), atomic_path(path) as temporary:
        store.download(key, temporary)
        _check_bytes(store, key, sha256_of(temporary), manifest.sha256[name])
    return path


def _require_file(store: Store, manifest: Manifest, name: str) -> None:
    if name not in manifest.sha256:
        known = ", ".join(manifest.sha256)
        raise ConfigError(f"{store.uri}: version {manifest.version} has no file {name}; it has {known}.")


def _check_bytes(store: Store, key: str, found: str, expected: str) -> None:
    if found != expected:
        raise ObjectCorruptError(
            f"{store.uri}/{key}: the bytes do not match MANIFEST.json "
            f"(sha256 {found[:12]}…, expected {expected[:12]}…); publish the version again or restore the file."
        )
