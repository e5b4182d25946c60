"""A local folder as object store: keys are paths, ETags are the sha256 of the bytes.

Writers take one `flock` on `.lock` in the root (NFS from version 4 honours it too), so compare and
swap cannot interleave; readers need no lock, since every write is a rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.fs
from filelock import FileLock

from bwpredict.core.limits import OBJECT_BYTES
from bwpredict.errors import ConflictError, ObjectCorruptError, ObjectMissingError, StoreUnreachableError
from bwpredict.store.base import ObjectInfo, check_key, check_size, translate_os_errors
from bwpredict.store.files import atomic_path, sha256_of, write_atomically

_LOCK_NAME = ".lock"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(\.[^.]+)?")
"""Names that `atomic_path` gives to files that are being written."""


class LocalStore:
    """The store in the folder `root`, which is made at the first write. Implements `Store`.

    Files and folders whose name starts with a dot are no objects: locks and unfinished writes.
    """

    def __init__(self, root: Path) -> None:
        """Touches nothing on disk."""
        self.root = root.expanduser().absolute()
        self.uri = str(self.root)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order; hashes each file as it comes."""
        for key in self.keys(prefix):
            yield self.info(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with `prefix`, in order; only folders are read."""
        with translate_os_errors(self.root):
            self._refuse_a_file()
            keys = sorted((key for key in self._keys(prefix) if key.startswith(prefix)), key=str.encode)
        yield from keys

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the visible folders in the folder `prefix`; none of them is opened."""
        with translate_os_errors(self.root):
            self._refuse_a_file()
            if (start := self._deepest_folder(prefix)) is None:
                return ()
            return tuple(sorted((item.name for item in os.scandir(start) if _is_folder(item)), key=str.encode))

    def times(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that start with `prefix`, in order, each with its last change; no file is opened."""
        with translate_os_errors(self.root):
            for key in self.keys(prefix):
                with suppress(FileNotFoundError):  # deleted since the folder was listed
                    yield key, datetime.fromtimestamp(os.stat(f"{self.root}/{key}").st_mtime, UTC)  # noqa: PTH116 - many

    def info(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        with translate_os_errors(self.root), self._opened(key) as path, path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return ObjectInfo(key, file.tell(), digest)

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes and the ETag of one object."""
        with translate_os_errors(self.root), self._opened(key) as path:
            check_size(key, self.uri, path.stat().st_size)
            content = path.read_bytes()
        return content, hashlib.sha256(content).hexdigest()

    def download(self, key: str, path: Path, max_bytes: int = OBJECT_BYTES) -> None:
        """Copy one object to `path`, atomically."""
        with translate_os_errors(self.root), self._opened(key) as source, atomic_path(path) as temporary:
            check_size(key, self.uri, source.stat().st_size, max_bytes)
            shutil.copyfile(source, temporary)

    def upload(self, path: Path, key: str) -> str:
        """Copy the file at `path` to a new key, and compare the copy's sha256 before it is seen."""
        target = self._path(key)
        with translate_os_errors(self.root), self._locked():
            sha256 = sha256_of(path)
            if target.exists():
                if sha256_of(target) != sha256:
                    raise ConflictError(f"{self.uri}/{key}: exists with other bytes than {path}; it was not changed.")
                return sha256
            with atomic_path(target) as temporary:
                shutil.copyfile(path, temporary)
                if sha256_of(temporary) != sha256:
                    raise ObjectCorruptError(f"{self.uri}/{key}: the copy differs from {path}; nothing was stored.")
            return sha256

    def write(self, key: str, content: bytes, *, if_etag: str | None) -> str:
        """Write by compare-and-swap under the store's lock; return the new ETag."""
        target = self._path(key)
        with translate_os_errors(self.root), self._locked():
            current = sha256_of(target) if target.exists() else None
            if current != if_etag:
                raise ConflictError(f"{self.uri}/{key}: {_what_happened(current, if_etag)}; read it again.")
            write_atomically(target, content)
        return hashlib.sha256(content).hexdigest()

    def delete(self, key: str) -> None:
        """Remove one object, and the folders that it leaves empty."""
        target = self._path(key)
        with translate_os_errors(self.root), self._locked():
            target.unlink(missing_ok=True)
            for folder in target.relative_to(self.root).parents[:-1]:
                if (self.root / folder).is_dir() and not any((self.root / folder).iterdir()):
                    (self.root / folder).rmdir()

    def remove_unfinished(self, before: datetime) -> int:
        """Remove the temporary files of writers that died; none is being written while the lock is held."""
        removed = 0
        if not self.root.is_dir():
            return removed
        with translate_os_errors(self.root), self._locked():
            for path in self.root.rglob(".*"):
                if _TEMPORARY.fullmatch(path.name) and path.is_file() and path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    removed += 1
        return removed

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """A PyArrow file system rooted at this folder."""
        return pyarrow.fs.SubTreeFileSystem(str(self.root), pyarrow.fs.LocalFileSystem())

    def _path(self, key: str) -> Path:
        check_key(key, self.uri)
        return self.root / key

    @contextmanager
    def _opened(self, key: str) -> Iterator[Path]:
        """The path of an existing object; absence inside the block becomes ObjectMissingError."""
        path = self._path(key)
        self._refuse_a_file()
        if not path.is_file():
            raise ObjectMissingError(f"{self.uri}/{key}: no such object.")
        yield path

    def _refuse_a_file(self) -> None:
        if self.root.exists() and not self.root.is_dir():
            raise StoreUnreachableError(f"{self.root}: is a file; expected the folder of an object store.")

    def _deepest_folder(self, prefix: str) -> Path | None:
        """The deepest folder that `prefix` names; None if it is hidden, or not there."""
        parts = prefix.split("/")[:-1]
        start = self.root.joinpath(*parts)
        hidden = any(part == "" or part.startswith(".") for part in parts)
        return start if not hidden and start.is_dir() else None

    def _keys(self, prefix: str) -> Iterator[str]:
        """Keys of all visible files in the deepest folder that `prefix` names."""
        if (start := self._deepest_folder(prefix)) is None:
            return
        skip = len(str(self.root).rstrip("/")) + 1
        for folder, folders, names in os.walk(start, onerror=_raise):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = folder[skip:] + "/" if len(folder) >= skip else ""
            yield from (inside + name for name in names if not name.startswith("."))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / _LOCK_NAME, poll_interval=0.002):
            yield


def _is_folder(item: os.DirEntry[str]) -> bool:
    return item.is_dir() and not item.name.startswith(".")


def _what_happened(current: str | None, expected: str | None) -> str:
    if expected is None:
        return "exists already"
    return "is gone" if current is None else "was changed by another writer"


def _raise(error: OSError) -> None:
    raise error
