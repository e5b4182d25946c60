"""Work areas that travel: what a run's steps hand to each other where machines share nothing but a store.

With `BWPREDICT_WORK_STORE`, the folder `BWPREDICT_WORK` is each machine's own scratch: before a step, the run's area is
brought up to date from the store; after it, what the step changed is sent there. `workspace.sync` describes the
store's layout. Without the setting, or for a folder elsewhere, nothing is copied: all machines see one folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

from bwpredict.config import Settings
from bwpredict.errors import BwPredictError
from bwpredict.store.factory import open_store
from bwpredict.workspace.artifacts import RUN
from bwpredict.workspace.sync import AreaCopy

logger = logging.getLogger(__name__)


@contextmanager
def workspace_lock(area: Path, part: str = "", *, exclusive: bool = False) -> Iterator[None]:
    """Bring the area up to date; after the block, also one that failed, send what it changed in the folder `part`.

    Others see all that the block changed, or nothing. Blocks with different parts may run at once, on any machines;
    the part "" is the whole area. `exclusive`: no other block may change the same files meanwhile.

    Raises:
        StoreUnreachableError: the store's.
        OvertakenError: `exclusive`, and another machine changed the same file; nothing was sent.
    """
    copy = _copy_of(area)
    if copy is None:
        yield
        return
    with FileLock(area / part / "exclusive.lock") if exclusive else nullcontext():
        before = copy.update(part)
        try:
            yield
        except BaseException:
            try:
                copy.send(before, part, exclusive=exclusive)
            except BwPredictError as error:
                logger.warning("%s What the step wrote before it failed is on this machine only.", error)
            raise
        copy.send(before, part, exclusive=exclusive)


def fetch(area: Path, *names: str) -> None:
    """Bring these files of the area up to date, or all if none is named; what the area does not have is left out.

    For those who only look. Raises StoreUnreachableError.
    """
    if copy := _copy_of(area):
        copy.fetch(names)


def share(path: Path) -> None:
    """Send one file of a step that is still on, so that another machine can continue from it.

    A store that fails is named in the log, and costs the step nothing.
    """
    area = next((folder for folder in path.absolute().parents if (folder / RUN).is_file()), None)
    copy = _copy_of(area) if area else None
    if area is None or copy is None:
        return
    try:
        if copy.is_stored:
            copy.put({path.absolute().relative_to(area).as_posix(): path}, (), {})
    except BwPredictError as error:
        logger.warning("%s Were this machine lost now, another would continue from an earlier point.", error)


def newest_areas(work: Path, limit: int) -> list[Path]:
    """The latest areas in the folder `work`, those first that were changed last. Raises StoreUnreachableError."""
    if (name := _shared_name(work)) is not None:
        prefix = (Path("areas") / name).as_posix() + "/"
        times = open_store(Settings().work_store).times(prefix)
        found = [(when, name) for key, when in times if "/" not in (name := key.removeprefix(prefix))]
        return [work / name.removesuffix(".json") for _, name in sorted(found, reverse=True)[:limit]]
    try:
        areas = [path for path in work.iterdir() if (path / RUN).is_file()]
    except OSError:
        return []
    return sorted(areas, key=lambda path: (path / RUN).stat().st_mtime, reverse=True)[:limit]


def portable_path(path: Path) -> str:
    """The path as another machine understands it: below BWPREDICT_WORK, where that is each machine's own."""
    return _shared_name(path) or str(path)


def local_path(path: str) -> Path:
    """Where a `portable` path is on this machine."""
    return Settings().work.absolute() / path


def _shared_name(path: Path) -> str | None:
    """The path relative to the folder of all areas, its name in the store; None: the store does not have it."""
    settings = Settings()
    path, work = path.absolute(), settings.work.absolute()
    if not settings.work_store or ".." in path.parts or not path.is_relative_to(work):
        return None
    return path.relative_to(work).as_posix()


def _copy_of(area: Path) -> AreaCopy | None:
    name = _shared_name(area)
    return None if name in (None, ".") else AreaCopy(open_store(Settings().work_store), area.absolute(), str(name))
