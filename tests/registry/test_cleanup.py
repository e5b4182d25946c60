"""What a cleanup deletes, what it never touches, and who wins when production moves meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, V3, Interposed, a_challenger, contents, once_at, published, three_published

from bwpredict.errors import ConfigError, ConflictError, ObjectMissingError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.registry.retention import RetentionPolicy, delete_old_versions, plan_retention
from bwpredict.registry.versions import list_versions, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

SOON = datetime.now(UTC) + timedelta(days=30)
"""When everything that a test writes is old."""
ME = {"made_by": "me", "now": SOON}
NOTHING = RetentionPolicy(keep=0)


def rolled_back(store: Store, folder: Path) -> None:
    """V2 serves, V1 is below it, V3 was rolled back and is in nobody's way."""
    three_published(store, folder)
    rollback(store, promoted_by="me", now=NOW)


def test_production_and_what_rollbacks_lead_to_are_never_deleted(store: Store, tmp_path: Path) -> None:
    rolled_back(store, tmp_path)
    assert delete_old_versions(store, NOTHING, **ME).versions == [V3]
    assert list_versions(store) == [V1, V2]
    assert not list(store.keys(f"models/{V3}/"))
    assert rollback(store, promoted_by="me", now=NOW).version == V1


def test_a_cleanup_is_a_record_of_its_own_and_leaves_what_serves(local_store: Store, tmp_path: Path) -> None:
    rolled_back(local_store, tmp_path)
    before = read_production(local_store)
    delete_old_versions(local_store, NOTHING, **ME)
    after = read_production(local_store)
    assert before is not None
    assert after is not None
    assert (after.kind, after.deleted, after.made_by, after.made_at) == (
        "cleanup", [V3], "me", SOON.isoformat(timespec="seconds"),
    )  # fmt: skip
    assert (after.version, after.sha256, after.promoted_at, after.promoted_by, after.previous) == (
        before.version, before.sha256, before.promoted_at, before.promoted_by, before.previous,
    )  # fmt: skip
    assert read_history(local_store)[-1] == after
    assert audit_registry(local_store).problems == []


def test_the_newest_versions_stay(local_store: Store, tmp_path: Path) -> None:
    rolled_back(local_store, tmp_path)
    assert delete_old_versions(local_store, RetentionPolicy(keep=1), **ME).doomed == []
    assert list_versions(local_store) == [V1, V2, V3]


def test_fewer_predecessors_may_be_kept(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    assert delete_old_versions(local_store, RetentionPolicy(keep=1, predecessors=5), **ME).versions == []
    assert delete_old_versions(local_store, RetentionPolicy(keep=1, predecessors=1), **ME).versions == [V1]
    assert rollback(local_store, promoted_by="me", now=NOW).version == V2
    with pytest.raises(ObjectMissingError, match=f"{V1} was deleted on .* by me"):
        rollback(local_store, promoted_by="me", now=NOW)


def test_what_changed_recently_stays(store: Store, tmp_path: Path) -> None:
    rolled_back(store, tmp_path)
    store.write("models/v20260101_000000/best_model.pth", b"half an upload", if_etag=None)
    before = contents(store)
    assert delete_old_versions(store, NOTHING, made_by="me", now=datetime.now(UTC)).doomed == []
    assert delete_old_versions(store, NOTHING, made_by="me", now=datetime.now(UTC) - timedelta(days=9)).doomed == []
    assert contents(store) == before


def test_an_upload_that_was_never_finished_goes_once_it_is_old(store: Store, tmp_path: Path) -> None:
    published(store, a_challenger(tmp_path, V1))
    store.write("models/v20260101_000000/best_model.pth", b"half an upload", if_etag=None)
    assert delete_old_versions(store, NOTHING, **ME).leftovers == ["v20260101_000000"]
    assert list_versions(store) == [V1]
    assert not list(store.keys("models/v2026010"))


def test_temporary_files_of_writers_that_died_go_too(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    published(store, a_challenger(tmp_path, V1))
    folder = tmp_path / "root" / "models" / V1
    for name in (".model_card.html.abcd1234.html", ".gitignore"):
        (folder / name).write_bytes(b"half")
    delete_old_versions(store, NOTHING, made_by="me", now=datetime.now(UTC))
    assert (folder / ".model_card.html.abcd1234.html").exists()
    delete_old_versions(store, NOTHING, **ME)
    assert [path.name for path in folder.glob(".*")] == [".gitignore"]


def test_a_dry_run_tells_what_a_cleanup_would_do_and_does_nothing(local_store: Store, tmp_path: Path) -> None:
    rolled_back(local_store, tmp_path)
    before = contents(local_store)
    planned = plan_retention(local_store, NOTHING, now=SOON)
    assert contents(local_store) == before
    assert delete_old_versions(local_store, NOTHING, **ME) == planned


def test_nothing_is_deleted_while_nothing_is_in_production(local_store: Store) -> None:
    local_store.write(f"models/{V1}/best_model.pth", b"half an upload", if_etag=None)
    assert delete_old_versions(local_store, NOTHING, **ME).doomed == []
    assert list(local_store.keys()) == [f"models/{V1}/best_model.pth"]


def test_what_belongs_to_no_version_is_not_touched(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    for key in ("models/README.md", "models/mine/notes.txt", "else/where"):
        local_store.write(key, b"x", if_etag=None)
    assert delete_old_versions(local_store, NOTHING, **ME).doomed == []
    assert "models/mine/notes.txt" in list(local_store.keys())


@pytest.mark.parametrize("policy", [{"keep": -1}, {"keep": 1, "predecessors": -1}])
def test_a_policy_with_a_negative_number_is_refused(policy: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        RetentionPolicy(**policy)


def test_a_promotion_that_comes_first_saves_its_version(store: Store, tmp_path: Path) -> None:
    rolled_back(store, tmp_path)
    rival = once_at("production.json", lambda: _do(promote(store, V3, promoted_by="rival", now=NOW)))
    with pytest.raises(ConflictError, match="production was moved by rival meanwhile, so the cleanup was not made"):
        delete_old_versions(Interposed(store, before=rival), NOTHING, **ME)  # type: ignore[arg-type]
    verify_version(store, V3)
    assert audit_registry(store).problems == []


@pytest.mark.parametrize("after", [False, True], ids=["before the swap", "after the swap"])
def test_a_promotion_that_comes_second_is_refused(local_store: Store, tmp_path: Path, after: bool) -> None:
    """The promotion has verified every file already when the cleanup begins, or begins when it is recorded only."""
    rolled_back(local_store, tmp_path)
    if after:
        hook = once_at("production.json", lambda: _refused(local_store))
        delete_old_versions(Interposed(local_store, after=hook), NOTHING, **ME)  # type: ignore[arg-type]
    else:
        hook = once_at("production.json", lambda: _do(delete_old_versions(local_store, NOTHING, **ME)))
        with pytest.raises(ConflictError, match="moved by me meanwhile"):
            promote(Interposed(local_store, before=hook), V3, promoted_by="rival", now=NOW)  # type: ignore[arg-type]
    production = read_production(local_store)
    assert production is not None
    assert production.version == V2
    assert audit_registry(local_store).problems == []


def test_the_retry_of_a_publication_that_was_cleaned_up_is_refused(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    late = a_challenger(tmp_path, V2, champion=V1)
    local_store.upload(late.folder / "snapshot.json", f"models/{V2}/snapshot.json")
    hook = once_at(f"models/{V2}/MANIFEST.json", lambda: _do(delete_old_versions(local_store, NOTHING, **ME)))
    with pytest.raises(ConflictError):
        published(Interposed(local_store, before=hook), late)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(ObjectMissingError, match=f"{V2} was deleted"):
            published(local_store, late)
        delete_old_versions(local_store, NOTHING, **ME)
    assert not list(local_store.keys(f"models/{V2}/"))


def test_no_reader_sees_a_version_listed_that_is_half_deleted(local_store: Store, tmp_path: Path) -> None:
    rolled_back(local_store, tmp_path)

    class Watched(Interposed):
        def delete(self, key: str) -> None:
            self.store.delete(key)
            for version in list_versions(self.store):
                verify_version(self.store, version)

    delete_old_versions(Watched(local_store), NOTHING, **ME)  # type: ignore[arg-type]
    assert list_versions(local_store) == [V1, V2]


def test_deleting_leaves_no_empty_folders(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    rolled_back(store, tmp_path)
    delete_old_versions(store, NOTHING, **ME)
    assert sorted(path.name for path in (tmp_path / "root" / "models").iterdir()) == [V1, V2]


def _do(_value: object) -> None:
    """Make a call of any result one of none."""


def _refused(store: Store) -> None:
    with pytest.raises(ObjectMissingError, match=f"{V3} was deleted"):
        promote(store, V3, promoted_by="rival", now=NOW)
