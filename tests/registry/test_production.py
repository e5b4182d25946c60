"""Promote, roll back, and a history that is never short of a move."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, V3, Interposed, a_challenger, contents, once_at, published, three_published
from hypothesis import given, settings
from hypothesis import strategies as st

from bwpredict.errors import (
    ConfigError,
    ConflictError,
    DocumentError,
    ObjectCorruptError,
    ObjectMissingError,
    StoreUnreachableError,
)
from bwpredict.registry.layout import onnx_name
from bwpredict.registry.pointer import encode
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.registry.retention import RetentionPolicy, delete_old_versions
from bwpredict.registry.versions import fetch, list_versions, read_manifest, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

ME = {"promoted_by": "me", "now": NOW + timedelta(days=1)}


def overwrite(store: Store, key: str, content: bytes) -> None:
    store.write(key, content, if_etag=store.info(key).etag)


def test_a_rollback_returns_to_the_version_before_and_is_recorded(store: Store, tmp_path: Path) -> None:
    three_published(store, tmp_path)
    made = rollback(store, **ME, reason="RTT off in eu-west")

    assert read_production(store) == made
    assert (made.version, made.kind, made.replaced, made.previous) == (V2, "rollback", V3, V1)
    assert (made.reason, made.promoted_by, made.sequence) == ("RTT off in eu-west", "me", 4)
    assert [(move.version, move.kind) for move in read_history(store)] == [
        (V1, "bootstrap"),
        (V2, "promotion"),
        (V3, "promotion"),
        (V2, "rollback"),
    ]


def test_rollbacks_go_further_back_each_time_and_end_with_a_sentence(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    assert [rollback(local_store, **ME).version for _ in range(2)] == [V2, V1]
    with pytest.raises(ConfigError, match=f"{V1} is the first version in production; none came before it"):
        rollback(local_store, **ME)


def test_nothing_can_be_rolled_back_in_an_empty_registry(store: Store) -> None:
    with pytest.raises(ConfigError, match="nothing is in production"):
        rollback(store, **ME)


def test_a_published_version_is_promoted_again(store: Store, tmp_path: Path) -> None:
    three_published(store, tmp_path)
    made = promote(store, V1, **ME)
    assert (made.version, made.kind, made.replaced, made.previous) == (V1, "promotion", V3, V3)
    assert rollback(store, **ME).version == V3


def test_promoting_what_is_in_production_moves_nothing(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    before = contents(local_store)
    assert promote(local_store, V3, **ME).sequence == 3
    assert contents(local_store) == before


def test_a_version_that_is_not_there_is_refused_with_those_that_are(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    with pytest.raises(ObjectMissingError, match=f"v20200101_000000 is not published; .*{V1}, {V2}, {V3}"):
        promote(local_store, "v20200101_000000", **ME)


def test_a_version_without_manifest_is_not_published(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    local_store.write(f"models/{V2}/{onnx_name(V2)}", b"half a publication", if_etag=None)
    assert list_versions(local_store) == [V1]
    with pytest.raises(ObjectMissingError, match=f"{V2} is not published"):
        promote(local_store, V2, **ME)


@pytest.mark.parametrize("name", [onnx_name(V2), "model_card.html"])
def test_a_version_with_a_corrupt_file_is_refused_by_the_name_of_the_file(
    local_store: Store, tmp_path: Path, name: str
) -> None:
    three_published(local_store, tmp_path)
    overwrite(local_store, f"models/{V2}/{name}", b"corrupt")
    before = contents(local_store)

    for attempt in (
        lambda: verify_version(local_store, V2),
        lambda: promote(local_store, V2, **ME),
        lambda: rollback(local_store, **ME),
        lambda: fetch(local_store, V2, [name], tmp_path / "out"),
    ):
        with pytest.raises(ObjectCorruptError, match=f"{V2}/{name}: the bytes do not match"):
            attempt()
    assert contents(local_store) == before
    assert not (tmp_path / "out" / name).exists()


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    three_published(store, tmp_path)
    (tmp_path / "root" / "models" / V2 / "profile.json").unlink()
    with pytest.raises(ObjectCorruptError, match=r"profile\.json: is gone, but MANIFEST\.json lists it"):
        promote(store, V2, **ME)


def test_a_manifest_of_another_version_is_refused(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    overwrite(local_store, f"models/{V2}/MANIFEST.json", local_store.read(f"models/{V1}/MANIFEST.json")[0])
    with pytest.raises(ObjectCorruptError, match=f"is the manifest of {V1}, not that of {V2}"):
        read_manifest(local_store, V2)


def test_fetching_takes_what_is_there_already_and_mends_what_is_damaged(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    [path] = fetch(local_store, V1, ["profile.json"], tmp_path / "out")
    good, when = path.read_bytes(), path.stat().st_mtime_ns

    fetch(local_store, V1, ["profile.json"], tmp_path / "out")
    assert path.stat().st_mtime_ns == when
    path.write_bytes(b"damaged")
    fetch(local_store, V1, ["profile.json"], tmp_path / "out")
    assert path.read_bytes() == good


def test_fetching_a_file_that_the_version_has_not_names_those_it_has(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    with pytest.raises(ConfigError, match=r"no file weights\.pkl; it has .*best_model\.pth"):
        fetch(local_store, V1, ["weights.pkl"], tmp_path / "out")


def test_a_move_from_a_version_that_no_longer_serves_is_refused(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    for attempt in (
        lambda: rollback(local_store, **ME, expected_version=V2),
        lambda: promote(local_store, V1, **ME, expected_version=V2),
    ):
        with pytest.raises(ConflictError, match=f"{V3} is in production, not {V2}"):
            attempt()
    assert rollback(local_store, **ME, expected_version=V3).version == V2


def test_a_rollback_asked_for_twice_goes_back_once(local_store: Store, tmp_path: Path) -> None:
    three_published(local_store, tmp_path)
    made = rollback(local_store, **ME, expected_version=V3)
    assert rollback(local_store, **ME, expected_version=V3) == made
    assert len(read_history(local_store)) == 4


def test_of_two_rollbacks_at_once_one_loses(store: Store, tmp_path: Path) -> None:
    three_published(store, tmp_path)
    rival = once_at("production.json", lambda: [rollback(store, promoted_by="rival", now=NOW), None][1])
    with pytest.raises(ConflictError, match="by rival meanwhile"):
        rollback(Interposed(store, before=rival), **ME)
    production = read_production(store)
    assert production is not None
    assert (production.version, production.sequence) == (V2, 4)


def test_a_record_that_was_altered_or_is_gone_is_named(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    three_published(store, tmp_path)
    keys = [info.key for info in store.list("history/")]
    altered = store.read(keys[1])[0].replace(b'"sequence": 2', b'"sequence": 7')
    original = store.read(keys[1])[0]

    overwrite(store, keys[1], altered)
    with pytest.raises(ObjectCorruptError, match=f"{keys[1]}: does not match its own checksum"):
        read_history(store)
    overwrite(store, keys[1], original)
    assert len(read_history(store)) == 3
    (tmp_path / "root" / keys[1]).unlink()
    with pytest.raises(ObjectCorruptError, match="move 2 is gone or was altered"):
        read_history(store)
    assert promote(store, V1, **ME).sequence == 4


def test_the_record_of_the_latest_move_must_agree_with_the_pointer(local_store: Store, tmp_path: Path) -> None:
    made = published(local_store, a_challenger(tmp_path, V1))
    overwrite(local_store, made.record_key, local_store.read(made.record_key)[0].replace(b"run 1", b"run 9"))
    for attempt in (
        lambda: read_history(local_store),
        lambda: published(local_store, a_challenger(tmp_path, V2, champion=V1)),
    ):
        with pytest.raises(ObjectCorruptError, match=f"{made.record_key}: does not match its own checksum"):
            attempt()
    assert read_production(local_store) == made


def test_a_record_that_was_replaced_by_another_whole_one_is_named(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    made = published(local_store, a_challenger(tmp_path, V2, champion=V1))
    rival = replace(made, promoted_by="rival")
    overwrite(local_store, made.record_key, encode(rival))
    with pytest.raises(ObjectCorruptError, match="move 2 is gone or was altered"):
        read_history(local_store)


def test_a_pointer_that_was_put_back_is_told_by_the_history(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    before = local_store.read("production.json")[0]
    published(local_store, a_challenger(tmp_path, V2, champion=V1))
    overwrite(local_store, "production.json", before)
    for attempt in (
        lambda: read_history(local_store),
        lambda: promote(local_store, V2, **ME),
        lambda: published(local_store, a_challenger(tmp_path, V3, champion=V1)),
        lambda: delete_old_versions(local_store, RetentionPolicy(keep=0), made_by="me", now=NOW),
    ):
        with pytest.raises(
            ObjectCorruptError, match=r"production\.json: is move 1, but the history continues to move 2"
        ):
            attempt()
    assert local_store.read("production.json")[0] == before


@pytest.mark.parametrize("content", [b"", b"no json", b"[]", b'{"version": "v20261001_000000"}', b'{"sequence": NaN}'])
def test_a_pointer_that_is_no_valid_document_is_named(local_store: Store, content: bytes) -> None:
    local_store.write("production.json", content or b" ", if_etag=None)
    for attempt in (
        lambda: read_production(local_store),
        lambda: promote(local_store, V1, **ME),
        lambda: rollback(local_store, **ME),
    ):
        with pytest.raises(DocumentError, match=r"production\.json"):
            attempt()


@pytest.mark.usefixtures("s3_environment")
def test_a_wrong_bucket_is_an_error_and_not_an_empty_registry() -> None:
    store = open_store("s3://no-such-bucket/registry")
    for attempt in (read_production, read_history, list_versions):
        with pytest.raises(StoreUnreachableError, match=r"'no-such-bucket' .* there is no such bucket"):
            attempt(store)


@pytest.mark.usefixtures("s3_asks_for_credentials")
def test_wrong_credentials_are_an_error_and_not_an_empty_registry(s3_environment: str) -> None:
    with pytest.raises(StoreUnreachableError, match="check AWS_ACCESS_KEY_ID") as caught:
        read_production(open_store("s3://some-bucket/registry"))
    assert s3_environment in str(caught.value)


_moves = st.lists(st.sampled_from([V1, V2, V3, "rollback"]), max_size=8)


@settings(max_examples=8, deadline=None)
@given(moves=_moves)
def test_promotions_push_and_rollbacks_pop(moves: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/root")
        three_published(store, Path(folder))
        stack, count = [V1, V2, V3], 3
        for wanted in moves:
            if wanted == "rollback" and len(stack) == 1:
                with pytest.raises(ConfigError):
                    rollback(store, **ME)
                continue
            count += wanted != stack[-1]
            made = rollback(store, **ME) if wanted == "rollback" else promote(store, wanted, **ME)
            if wanted == "rollback":
                stack.pop()
            elif wanted != stack[-1]:
                stack.append(wanted)
            assert (made.version, made.previous) == (stack[-1], stack[-2] if len(stack) > 1 else None)
        history = read_history(store)
        assert [move.sequence for move in history] == list(range(1, count + 1))
        assert [move.replaced for move in history[1:]] == [move.version for move in history[:-1]]
        assert history[-1] == read_production(store)
