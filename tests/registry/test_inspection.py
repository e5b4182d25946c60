"""A damaged file is refused by every reader with its name, and `audit_registry` names all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, contents, three_published
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwpredict.errors import DocumentError, ObjectCorruptError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.layout import onnx_name
from bwpredict.registry.promotion import promote, read_history, read_production
from bwpredict.registry.versions import fetch, read_manifest, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "longer": lambda content: content + b"x",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    three_published(open_store(str(tmp_path / "root")), tmp_path)
    return tmp_path / "root"


def test_a_registry_as_it_was_written_has_no_problems(root: Path) -> None:
    found = audit_registry(open_store(str(root)))
    assert found.problems == []
    assert (found.versions, found.files, found.moves) == (3, 36, 3)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_every_damaged_file_is_named(root: Path, damage: Callable[[bytes], bytes]) -> None:
    store = open_store(str(root))
    for key in list(store.keys()):
        path = root / key
        before = path.read_bytes()
        path.write_bytes(damage(before))
        problems = audit_registry(store).problems
        assert any(key in problem for problem in problems), key
        path.write_bytes(before)
    assert audit_registry(store).problems == []


def test_files_that_were_swapped_are_named(root: Path) -> None:
    store = open_store(str(root))
    pairs = [
        (f"models/{V1}/{onnx_name(V1)}", f"models/{V2}/{onnx_name(V2)}"),
        (f"models/{V1}/MANIFEST.json", f"models/{V2}/MANIFEST.json"),
        (f"models/{V1}/model_card.html", f"models/{V1}/snapshot.json"),
        tuple(list(store.keys("history/"))[:2]),
    ]
    for first, second in pairs:
        contents_ = (root / first).read_bytes(), (root / second).read_bytes()
        for key, content in zip((second, first), contents_, strict=True):
            (root / key).write_bytes(content)
        problems = "\n".join(audit_registry(store).problems)
        assert first in problems or "move 1 is gone or was altered" in problems
        assert second in problems or "move 1 is gone or was altered" in problems
        for key, content in zip((first, second), contents_, strict=True):
            (root / key).write_bytes(content)


def test_what_is_gone_or_too_much_is_named(root: Path) -> None:
    store = open_store(str(root))
    (root / "models" / V1 / "profile.json").unlink()
    (root / "models" / V2 / "extra.bin").write_bytes(b"x")
    (root / "models" / "stray").write_bytes(b"x")
    (root / "models" / "v20260101_000000").mkdir()
    (root / "models" / "v20260101_000000" / "best_model.pth").write_bytes(b"half an upload")
    found = audit_registry(store)
    assert len(found.problems) == 3
    for named in (f"{V1}/profile.json: is gone", f"{V2}/extra.bin: is not listed", "stray: belongs to no version"):
        assert any(named in problem for problem in found.problems)
    assert found.unfinished == ["v20260101_000000"]


def test_a_version_that_serves_and_is_not_whole_is_named(root: Path) -> None:
    (root / "models" / V1 / "MANIFEST.json").unlink()
    assert any(
        f"{V1}_bootstrap.json: {V1} is not completely published" in problem
        for problem in audit_registry(_open(root)).problems
    )


def test_inspecting_changes_nothing(root: Path) -> None:
    before = contents(_open(root))
    audit_registry(_open(root))
    assert contents(_open(root)) == before


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_refused_by_every_reader_of_the_file_with_its_name(root: Path, data: st.DataObject) -> None:
    store = open_store(str(root))
    key = data.draw(st.sampled_from(sorted(set(store.keys()))))
    before = (root / key).read_bytes()
    bit = data.draw(st.integers(0, 8 * len(before) - 1))
    flipped = bytearray(before)
    flipped[bit // 8] ^= 1 << bit % 8
    (root / key).write_bytes(flipped)
    try:
        for read in _readers(store, key, root.parent):
            with pytest.raises((ObjectCorruptError, DocumentError), match=key.rpartition("/")[2]):
                read()
        assert any(key in problem for problem in audit_registry(store).problems)
    finally:
        (root / key).write_bytes(before)


def _readers(store: Store, key: str, folder: Path) -> list[Callable[[], object]]:
    """Everything that reads this file."""
    parts = key.split("/")
    if parts[0] == "production.json":
        return [lambda: read_production(store), lambda: read_history(store), lambda: promote(store, V1, **_ME)]
    if parts[0] == "history":
        return [lambda: read_history(store)]
    _, version, name = parts
    verify = [lambda: verify_version(store, version)]
    if name == "MANIFEST.json":
        return [*verify, lambda: read_manifest(store, version)]
    return [*verify, lambda: fetch(store, version, [name], folder / "out")]


_ME = {"promoted_by": "me", "now": NOW}


def _open(root: Path) -> Store:
    return open_store(str(root))
