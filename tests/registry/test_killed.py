"""Whoever changes the registry is killed with SIGKILL after every operation on the store, one after the other.

The operations are not listed here: a first run records them. After each kill a reader finds the old state or the
new one, whole, and running the same again finishes it once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from challengers import NOW, V1, V2, V3, a_challenger, contents, published, three_published
from fixtures_s3 import put_objects
from killing import CHANGING, OPERATIONS, killed_after, operations_of

from bwpredict.registry.audit import audit_registry
from bwpredict.registry.canary import begin_canary, end_canary
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.registry.retention import RetentionPolicy, delete_old_versions
from bwpredict.registry.versions import list_versions, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.s3 import S3Store

LATER = NOW + timedelta(days=30)
V0 = "v20260901_000000"


@dataclass(frozen=True)
class Change:
    """Something done to a registry: how it begins, and what is done to it."""

    begin: Callable[[Store, Path], object]
    act: Callable[[Path, Any], object]
    after: str
    """What is in production afterwards."""


def _begin_with_a_loser(store: Store, folder: Path) -> None:
    """Three versions, and one that was uploaded but never promoted."""
    three_published(store, folder)
    loser = a_challenger(folder, V1, salt="loser")
    for path in sorted(loser.folder.iterdir()):
        store.upload(path, f"models/{V0}/{path.name}")


def _begin_with_a_canary(store: Store, folder: Path) -> None:
    three_published(store, folder)
    begin_canary(store, V1, 0.1, made_by="me", now=NOW)


CHANGES = {
    "the first publication": Change(
        lambda store, folder: None, lambda folder, store: published(store, _challenger(folder, V1, None)), V1
    ),
    "a publication": Change(
        lambda store, folder: published(store, a_challenger(folder, V1)),
        lambda folder, store: published(store, _challenger(folder, V2, V1)),
        V2,
    ),
    "a promotion": Change(three_published, lambda folder, store: promote(store, V1, promoted_by="me", now=LATER), V1),
    "a rollback": Change(
        three_published,
        lambda folder, store: rollback(store, promoted_by="me", now=LATER, expected_version=V3),
        V2,
    ),
    "the beginning of a canary": Change(
        three_published, lambda folder, store: begin_canary(store, V1, 0.1, made_by="me", now=LATER), V3
    ),
    "the end of a canary": Change(
        _begin_with_a_canary, lambda folder, store: end_canary(store, made_by="me", now=LATER), V3
    ),
    "a promotion that ends a canary": Change(
        _begin_with_a_canary, lambda folder, store: promote(store, V1, promoted_by="me", now=LATER), V1
    ),
    "a cleanup": Change(
        _begin_with_a_loser,
        lambda folder, store: delete_old_versions(store, RetentionPolicy(0, 1, timedelta()), made_by="me", now=LATER),
        V3,
    ),
}


def _challenger(folder: Path, version: str, champion: str | None) -> Any:
    """The challenger of every retry: the same work area each time."""
    shutil.rmtree(folder / f"work-{version}", ignore_errors=True)
    return a_challenger(folder, version, champion=champion)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_killed_after_any_operation_it_is_old_or_new_and_finished_by_a_retry(tmp_path: Path, change: Change) -> None:
    _kill_everywhere(change, tmp_path, lambda name: str(tmp_path / name))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_killed_after_a_few_operations_it_is_finished_by_a_retry(tmp_path: Path, change: Change) -> None:
    _kill_everywhere(change, tmp_path, lambda name: str(tmp_path / name), at_most=4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CHANGES if name != "a cleanup"])
def test_killed_after_any_operation_that_changes_the_store_on_s3_too(
    tmp_path: Path, s3_environment: str, s3_bucket: str, name: str
) -> None:
    """Reads do not change the store, so a process killed after one leaves it as the change before it did.

    The cleanup is left out: its many deletions would take minutes here.
    """
    change = CHANGES[name]

    def fill(store: S3Store, objects: dict[str, bytes]) -> None:
        put_objects(s3_environment, s3_bucket, {f"{store.prefix}/{key}": content for key, content in objects.items()})

    _kill_everywhere(change, tmp_path, lambda name: f"s3://{s3_bucket}/{name}", fill=fill, only=CHANGING)


def _fill(store: Store, objects: dict[str, bytes]) -> None:
    for key, content in objects.items():
        store.write(key, content, if_etag=None)


def _kill_everywhere(
    change: Change,
    folder: Path,
    place: Callable[[str], str],
    at_most: int | None = None,
    fill: Callable[[Any, dict[str, bytes]], None] = _fill,
    only: Container[str] = OPERATIONS,
) -> None:
    """After every operation of these, or after the last ones: there the pointer moves, and there is what follows it."""
    calm = open_store(place("calm"))
    change.begin(calm, folder / "begun")
    before = contents(calm)
    operations = operations_of(calm, partial(change.act, folder))
    finished = contents(calm)
    assert any(name == "write" for name, _ in operations)
    numbers = [number for number, (name, _) in enumerate(operations) if name in only]
    for number in numbers[-at_most if at_most else 0 :]:
        store = open_store(place(f"killed-{number}"))
        fill(store, before)
        killed_after(number, partial(open_store, place(f"killed-{number}")), partial(change.act, folder))
        _check_whole(store, before, change.after)
        try:
            change.act(folder, store)
        except Exception as error:
            raise AssertionError(f"killed after operation {number}, {operations[number]}") from error
        assert contents(store) == finished, f"killed after operation {number}, {operations[number]}"


def _check_whole(store: Store, before: dict[str, bytes], after: str) -> None:
    """A reader finds the pointer and history of before or of one move more, and every version listed whole."""
    assert audit_registry(store).problems == []
    history, production = read_history(store), read_production(store)
    moves = sum(key.startswith("history/") for key in before)
    assert len(history) in (moves, moves + 1)
    assert production == (history[-1] if history else None)
    if production and len(history) > moves:
        assert production.version == after
    for version in list_versions(store):
        verify_version(store, version)
