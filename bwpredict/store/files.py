"""Local files: checksums and atomic writes."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bwpredict.errors import ConfigError


def require_local_path(path: Path) -> Path:
    """The path, unless it is the address of a bucket, which would be written as a folder of that odd name.

    Raises:
        ConfigError: it is an address.
    """
    if path.parts and path.parts[0].endswith(":"):
        address = f"{path.parts[0]}//{'/'.join(path.parts[1:])}"
        raise ConfigError(f"{address}: is not on this machine; give a local file or folder, and copy it yourself.")
    return path


def sha256_of(path: Path) -> str:
    """Hex sha256 of the file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that a reader, or a crash, sees the old file or the new one, whole."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that is synced and renamed to it if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    """Make a rename durable (POSIX: the directory holds the name)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
