"""One workspace in the object store and its copy on this machine; `workspace.areas` uses it.

The store has

```
areas/<area>.json      what the area consists of: sha256, size and object of each file; replaced by compare-and-swap
files/<area>/<random>  the bytes of one file; written before the document names it, never changed
```
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bwpredict.documents import decode_document, encode_document
from bwpredict.errors import ConflictError, ObjectCorruptError, ObjectMissingError, OvertakenError, StoreError
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of
from bwpredict.workspace.artifacts import RESUME

Entry = dict[str, Any]
"""Of one file in the document: sha256, size_bytes, object."""
Stamp = tuple[int, int]
"""Size and time of change of a local file: another one means another content."""
Known = Mapping[str, tuple[str, Stamp]]
"""sha256 and stamp of local files, by their name in the area."""
_Item = TypeVar("_Item")
_Made = TypeVar("_Made")

COPIES_AT_ONCE = 8
ATTEMPTS = 30
"""To replace the document while other workers replace it too."""


@dataclass(frozen=True)
class AreaCopy:
    """The area `name` of the store, and the folder `area` that it is copied to."""

    store: Store
    area: Path
    name: str

    @property
    def is_stored(self) -> bool:
        """Whether the store has the area."""
        return self._read()[1] is not None

    def update(self, part: str) -> Known:
        """Make this machine's files those of the store; returns those in the folder `part`.

        Files that the store does not have are deleted in `part`; of an area that it does not have at all, none.
        """
        files = self.fetch(())
        if files is None:
            return {}
        here = self._local(part)
        for name in here.keys() - files.keys():
            here.pop(name).unlink()
        return {name: (files[name]["sha256"], _stamp(path)) for name, path in here.items()}

    def fetch(self, names: Iterable[str]) -> Mapping[str, Entry] | None:
        """Download what is missing here or differs, of `names` or of all; returns all, None if there is no area.

        Raises:
            ObjectMissingError: the store has lost a file of the area.
        """
        files, etag = self._read()
        try:
            _at_once(self._fetch, [(name, files[name]) for name in names or files if name in files])
        except ObjectMissingError as error:
            if self._read()[1] != etag:  # another process replaced the document after it was read
                return self.fetch(names)
            raise ObjectMissingError(
                f"{self._where}: names a file that no longer exists; run again. {error}"
            ) from error
        return None if etag is None else files

    def send(self, before: Known, part: str, *, exclusive: bool) -> None:
        """Send the files in `part` that differ from `before`, and take out of the area what is no longer here."""
        here = self._local(part)
        changed = {name: path for name, path in here.items() if name not in before or _stamp(path) != before[name][1]}
        gone = before.keys() - here.keys()
        if not part and not (self.area / RESUME).exists():
            gone |= {name for name in self._read()[0] if name.startswith(f"{RESUME}/")}
        expected = {name: before[name][0] if name in before else None for name in changed} if exclusive else {}
        self.put(changed, gone, expected)

    def put(self, paths: Mapping[str, Path], gone: Collection[str], expected: Mapping[str, str | None]) -> None:
        """Upload files, then replace the document.

        `expected` has the sha256 that files of the area must have had until now; None: they were not there.
        """
        there, _ = self._read()
        digests = {name: sha256_of(path) for name, path in paths.items()}
        differ = [name for name, sha256 in digests.items() if there.get(name, {}).get("sha256") != sha256]
        entries = _at_once(lambda name: self._upload(paths[name]), differ)
        sent = dict(zip(differ, entries, strict=True))
        for attempt in range(ATTEMPTS):
            files, etag = self._read()
            for name, sha256 in expected.items():
                if files.get(name, {}).get("sha256") != sha256:
                    raise OvertakenError(f"{self._where}: another worker changed {name} meanwhile; run the step again.")
            wanted = {name: entry for name, entry in files.items() if name not in gone} | sent
            try:
                if wanted != files or etag is None:
                    self._replace(wanted, etag)
            except ConflictError:
                time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - not a secret
                continue
            self._delete(entry["object"] for name, entry in files.items() if wanted.get(name) != entry)
            return
        raise OvertakenError(f"{self._where}: other workers keep replacing it; run the step again.")

    def _read(self) -> tuple[dict[str, Entry], str | None]:
        try:
            content, etag = self.store.read(f"areas/{self.name}.json")
        except ObjectMissingError:
            return {}, None
        return decode_document("work_area", content, name=self._where)["files"], etag

    def _replace(self, files: Mapping[str, Entry], etag: str | None) -> None:
        content = encode_document("work_area", {"files": dict(sorted(files.items()))}, name=self._where)
        self.store.write(f"areas/{self.name}.json", content, if_etag=etag)

    @property
    def _where(self) -> str:
        return f"{self.store.uri}/areas/{self.name}.json"

    def _local(self, part: str) -> dict[str, Path]:
        """The files of a part that are worth sending, by their name in the area."""
        found = (path for path in (self.area / part).rglob("*") if path.is_file())
        names = {path.relative_to(self.area).as_posix(): path for path in found}
        return {name: path for name, path in names.items() if not _stays(name)}

    def _fetch(self, wanted: tuple[str, Entry]) -> None:
        name, entry = wanted
        path = self.area / name
        if not path.is_file() or sha256_of(path) != entry["sha256"]:
            self.store.download(entry["object"], path, max_bytes=entry["size_bytes"])
            if sha256_of(path) != entry["sha256"]:
                path.unlink()
                raise ObjectCorruptError(
                    f"{self.store.uri}/{entry['object']}: is not {name} as it was sent; clear the step that wrote it."
                )

    def _upload(self, path: Path) -> Entry:
        key = f"files/{self.name}/{uuid.uuid4().hex}"
        return {"sha256": self.store.upload(path, key), "size_bytes": path.stat().st_size, "object": key}

    def _delete(self, keys: Iterable[str]) -> None:
        with suppress(StoreError):  # nothing refers to them any more
            _at_once(self.store.delete, list(keys))


def _stays(name: str) -> bool:
    """Whether a file is of this machine alone: unfinished, a lock, or made again from the others, and large."""
    *folders, last = name.split("/")
    made_again = any(folder.startswith("frame-") or folder.endswith(".ranks") for folder in folders)
    return made_again or last.endswith(".lock") or any(part.startswith(".") for part in (*folders, last))


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _at_once(do: Callable[[_Item], _Made], items: list[_Item]) -> list[_Made]:
    """What `do` makes of each, several at a time."""
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        return list(pool.map(do, items))
