"""What travels between steps: references to files of a work area, and the area as a step finds and leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bwpredict.errors import WorkAreaError
from bwpredict.store.files import sha256_of
from bwpredict.workspace import areas


@dataclass(frozen=True)
class Reference:
    """A file in a run's work area, by path and checksum: small enough for an XCom."""

    path: str
    """Relative to BWPREDICT_WORK where each machine has its own; `local_file` gives the path on this machine."""
    sha256: str


def make_reference(path: Path) -> Reference:
    """The reference to a file that a step wrote."""
    return Reference(areas.portable_path(path), sha256_of(path))


def local_file(reference: Reference, name: str = "") -> Path:
    """Where the file is on this machine, or the one called `name` beside it, brought here if need be.

    For files of the work area itself, not of folders in it.
    """
    written = areas.local_path(reference.path)
    path = written.with_name(name or written.name)
    areas.fetch(path.parent, path.name)
    return path


@contextmanager
def open_workspace(*before: Reference, depth: int = 1, part: str = "", exclusive: bool = False) -> Iterator[Path]:
    """The work area of references that are `depth` levels down in it, for a step that may write into its `part`.

    Raises:
        WorkAreaError: a file is not the one that was written.
        StoreUnreachableError, OvertakenError: as `areas.workspace_lock`.
    """
    paths = [areas.local_path(reference.path) for reference in before]
    area = paths[0].parents[depth - 1]
    with areas.workspace_lock(area, part, exclusive=exclusive):
        for path, reference in zip(paths, before, strict=True):
            if not path.is_file():
                raise WorkAreaError(
                    f"{path}: is not on this machine; every worker needs the same BWPREDICT_WORK folder or the same"
                    " BWPREDICT_WORK_STORE, or else the file was deleted."
                )
            if sha256_of(path) != reference.sha256:
                raise WorkAreaError(
                    f"{path}: is not the file that the step before wrote; clear that step to write it again."
                )
        yield area
