"""The store protocol. Keys are relative to the store's root, with `/` between parts."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bwpredict.core.limits import OBJECT_BYTES
from bwpredict.errors import ObjectCorruptError, StoreError, StoreUnreachableError

if TYPE_CHECKING:
    import pyarrow.fs


@dataclass(frozen=True)
class ObjectInfo:
    """One object of a listing: `etag` changes whenever the bytes do."""

    key: str
    size_bytes: int
    etag: str


class Store(Protocol):
    """What the product needs of an object store.

    Every method raises `StoreUnreachableError` when the store, bucket or credentials fail.
    """

    uri: str
    """Where the root of this store is: a folder's path, or `s3://bucket/prefix`. Holds no secret."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that `list` gives, in the same order, without looking at the objects: fast on a big store."""

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The sorted names of the folders right under `prefix` (it ends with `/`); does not read below them."""

    def times(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that `list` gives, in the same order, each with its last change by the store's own clock."""

    def info(self, key: str) -> ObjectInfo:
        """Size and ETag of one object. Raises ObjectMissingError."""

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes and the ETag of one object, from one version of it. Raises ObjectMissingError."""

    def download(self, key: str, path: Path, max_bytes: int = OBJECT_BYTES) -> None:
        """Write one object to `path`, atomically.

        Raises ObjectMissingError; ObjectCorruptError if it has more than `max_bytes`.
        """

    def upload(self, path: Path, key: str) -> str:
        """Store the file at `path` under a key that must not exist; return the bytes' sha256.

        The bytes are read back or checked by the server before this returns.
        Raises ConflictError if the key exists with other bytes (the same bytes are a finished retry);
        UnknownOutcomeError if the answer was lost.
        """

    def write(self, key: str, content: bytes, *, if_etag: str | None) -> str:
        """Write by compare-and-swap and return the new ETag.

        `if_etag` is the ETag that was read, or None for "must not exist".
        Raises ConflictError (surely lost) or UnknownOutcomeError (the answer was lost).
        """

    def delete(self, key: str) -> None:
        """Remove one object; one that is not there is fine."""

    def remove_unfinished(self, before: datetime) -> int:
        """Remove what writers that died before that time left half-written (never objects); returns how many."""

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """A PyArrow file system rooted at this store, so that keys are its paths."""


def check_key(key: str, uri: str) -> None:
    """Refuse a key that is no plain relative path of visible names, the same on every store.

    Raises:
        StoreError: names the key and what is wrong with it.
    """
    if any(part == "" or part.startswith(".") for part in key.split("/")) or "\\" in key or "\0" in key:
        raise StoreError(
            f"{uri}: {key!r} cannot be a key: expected names joined by '/', none empty, none starting with a dot."
        )


def check_size(key: str, uri: str, size_bytes: int, max_bytes: int = OBJECT_BYTES) -> None:
    """Refuse an object that is too large to be read or downloaded. Raises ObjectCorruptError."""
    if size_bytes > max_bytes:
        raise ObjectCorruptError(f"{uri}/{key}: has {size_bytes:,} bytes; expected {max_bytes:,} at most.")


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Turn what the file system refuses inside the block into one sentence with path and reason.

    Raises:
        StoreError: the disk is full.
        StoreUnreachableError: any other OSError; names its own path, or else `path`.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(f"{where}: {error.strerror}; free some space and run again.") from error
        sentence = f"{where}: {error.strerror}; check the path, its permissions and the mount."
        raise StoreUnreachableError(sentence) from error
