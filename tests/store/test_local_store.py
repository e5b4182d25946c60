"""What is particular to a folder as store."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from bwpredict.errors import ObjectCorruptError, StoreError, StoreUnreachableError
from bwpredict.store import files
from bwpredict.store.factory import open_store


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    assert list(store.list()) == []
    assert not (tmp_path / "root").exists()


def test_the_etag_changes_with_the_bytes_and_only_with_them(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")
    (tmp_path / "part-0.csv").write_bytes(b"one")
    before = store.info("part-0.csv")

    os.utime(tmp_path / "part-0.csv", (1, 1))
    assert store.info("part-0.csv") == before
    (tmp_path / "part-0.csv").write_bytes(b"two")
    os.utime(tmp_path / "part-0.csv", (1, 1))
    assert store.info("part-0.csv").etag != before.etag


def test_hidden_files_and_unfinished_writes_are_no_objects(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("a", b"1", if_etag=None)
    (tmp_path / ".a.tmp").write_bytes(b"half")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"x")

    assert [info.key for info in store.list()] == ["a"]
    assert list(store.list(".git/")) == []


def test_a_file_as_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("x")
    with pytest.raises(StoreUnreachableError, match=r"data\.csv: is a file; expected the folder"):
        list(open_store(str(tmp_path / "data.csv")).list())
    with pytest.raises(StoreUnreachableError, match=r"data\.csv"):
        open_store(str(tmp_path / "data.csv")).write("a", b"1", if_etag=None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_with_the_reason(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StoreUnreachableError, match=r"Permission denied; check the path"):
        open_store(str(tmp_path / "root")).write("a", b"1", if_etag=None)


def test_a_full_disk_is_said_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    (tmp_path / "source").write_bytes(b"1234")
    store = open_store(str(tmp_path / "root"))
    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(StoreError, match=r"No space left on device; free some space"):
        store.upload(tmp_path / "source", "key")
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".lock"]


def test_a_copy_that_differs_from_its_source_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"1234")
    store = open_store(str(tmp_path / "root"))
    monkeypatch.setattr(shutil, "copyfile", lambda _source, target: Path(target).write_bytes(b"12"))
    with pytest.raises(ObjectCorruptError, match="differs from"):
        store.upload(tmp_path / "source", "key")
    assert list(store.list()) == []


def test_a_writer_that_dies_before_the_rename_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    etag = store.write("pointer", b"old", if_etag=None)

    def die(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            store.write("pointer", b"new", if_etag=etag)
    assert store.read("pointer") == (b"old", etag)
    store.write("pointer", b"new", if_etag=etag)
