"""A local store on a real file system that is full or read-only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from challengers import V1, V2, a_challenger, contents, published

from bwpredict.errors import StoreError, StoreUnreachableError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import read_history, read_production
from bwpredict.store.factory import open_store

PAGE = 4096
"""What a file takes on a tmpfs at least."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"mounting is not permitted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def leave_free(folder: Path, pages: int) -> Path:
    """Fill the file system but for this many pages."""
    free = os.statvfs(folder).f_bavail - pages
    ballast = folder / "ballast"
    ballast.write_bytes(b"x" * (free * PAGE))
    return ballast


def test_a_publication_on_a_full_disk_is_refused_whole_and_finished_once_there_is_space(
    small_disk: Path, tmp_path: Path
) -> None:
    """However far it gets before the disk is full."""
    store = open_store(str(small_disk / "root"))
    champion = published(store, a_challenger(tmp_path, V1))
    challenger = a_challenger(tmp_path, V2, champion=V1)
    before = contents(store)
    refused = 0
    for pages in range(60):
        ballast = leave_free(small_disk, pages)
        try:
            published(store, challenger)
        except StoreError as error:
            refused += 1
            assert "No space left on device; free some space and run again" in str(error)  # noqa: PT017
        ballast.unlink()
        assert audit_registry(store).problems == []
        assert {key: content for key, content in contents(store).items() if key in before} == before or _moved(store)
        assert not [path for path in small_disk.rglob(".*") if path.name != ".lock"]
        if _moved(store):
            break
        assert read_production(store) == champion
    assert refused > 3
    published(store, challenger)
    assert [made.version for made in read_history(store)] == [V1, V2]


def _moved(store: object) -> bool:
    production = read_production(store)  # type: ignore[arg-type]
    return production is not None and production.version == V2


def test_a_read_only_disk_is_said_and_still_serves(small_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(small_disk / "root"))
    made = published(store, a_challenger(tmp_path, V1))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for attempt in (
        lambda: published(store, a_challenger(tmp_path, V2, champion=V1)),
        lambda: store.delete("production.json"),
    ):
        with pytest.raises(StoreUnreachableError, match="Read-only file system; check the path"):
            attempt()
    assert read_production(store) == made
    assert audit_registry(store).problems == []
