"""What every store promises; each test runs on a local folder and on a real S3 server."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwpredict.errors import ConfigError, ConflictError, ObjectCorruptError, ObjectMissingError, StoreError
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of


def a_file(folder: Path, content: bytes) -> Path:
    path = folder / "source.bin"
    path.write_bytes(content)
    return path


def keys(store: Store, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(prefix)]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys(store) == []
    assert keys(store, "models/") == []


def test_what_was_written_is_read_back_with_the_etag_of_the_write(store: Store) -> None:
    etag = store.write("a/b.json", b"{}", if_etag=None)

    assert store.read("a/b.json") == (b"{}", etag)
    assert (store.info("a/b.json").size_bytes, store.info("a/b.json").etag) == (2, etag)


def test_a_listing_is_in_key_order_and_tells_what_info_tells(store: Store) -> None:
    for key in ("b/2", "b/10", "a", "b.txt", "b-c/1", "ä", "Z"):
        store.write(key, key.encode(), if_etag=None)

    assert keys(store) == ["Z", "a", "b-c/1", "b.txt", "b/10", "b/2", "ä"]
    assert list(store.list()) == [store.info(key) for key in keys(store)]


def test_a_prefix_is_a_start_of_the_key_and_not_only_a_folder(store: Store) -> None:
    for key in ("date=2026-10-01/x", "date=2026-10-02/x", "date=2026-11-01/x"):
        store.write(key, b"1", if_etag=None)

    assert keys(store, "date=2026-10") == ["date=2026-10-01/x", "date=2026-10-02/x"]
    assert keys(store, "date=2026-11-01/") == ["date=2026-11-01/x"]
    assert keys(store, "/date") == keys(store, "../") == []


def test_keys_are_those_of_the_listing_in_the_same_order(store: Store) -> None:
    for key in ("b/2", "b/10", "a", "b.txt", "b-c/1", "ä", "Z"):
        store.write(key, key.encode(), if_etag=None)

    for prefix in ("", "b", "b/", "b/1", "none", "../"):
        assert list(store.keys(prefix)) == keys(store, prefix)


def test_folders_are_the_names_that_keys_go_on_from(store: Store) -> None:
    for key in ("b/2", "b/10/x", "a", "b-c/1", "ä/1/2", "Z/1"):
        store.write(key, b"1", if_etag=None)

    assert store.folders("") == ("Z", "b", "b-c", "ä")
    assert store.folders("b/") == ("10",)
    assert store.folders("none/") == store.folders("../") == store.folders("b/2/") == ()


def test_an_object_that_was_deleted_is_gone_and_deleting_it_again_is_fine(store: Store) -> None:
    for key in ("a/b", "a/c", "d/e"):
        store.write(key, b"1", if_etag=None)
    for _ in range(2):
        store.delete("a/b")
        store.delete("d/e")
    assert keys(store) == ["a/c"]
    store.write("d/e", b"again", if_etag=None)
    assert store.read("d/e")[0] == b"again"


def test_objects_tell_when_they_were_written(store: Store) -> None:
    for key in ("b/2", "b/10", "a"):
        store.write(key, b"1", if_etag=None)
    for prefix in ("", "b/", "none"):
        assert [key for key, _ in store.times(prefix)] == keys(store, prefix)
    for _, changed in store.times():
        assert abs(datetime.now(UTC) - changed) < timedelta(minutes=5)


def test_what_is_no_temporary_file_of_the_store_is_not_removed_as_one(store: Store) -> None:
    store.write("a", b"1", if_etag=None)
    assert store.remove_unfinished(datetime.now(UTC) + timedelta(days=1)) == 0
    assert keys(store) == ["a"]


def test_a_write_that_expects_no_object_loses_to_one_that_exists(store: Store) -> None:
    store.write("pointer", b"theirs", if_etag=None)

    with pytest.raises(ConflictError, match="pointer"):
        store.write("pointer", b"ours", if_etag=None)
    assert store.read("pointer")[0] == b"theirs"


def test_a_write_loses_when_the_object_changed_since_it_was_read(store: Store) -> None:
    read = store.write("pointer", b"one", if_etag=None)
    store.write("pointer", b"two", if_etag=read)

    with pytest.raises(ConflictError, match="pointer"):
        store.write("pointer", b"three", if_etag=read)
    assert store.read("pointer")[0] == b"two"


def test_a_write_loses_when_the_object_it_expects_is_not_there(store: Store) -> None:
    etag = store.write("elsewhere", b"one", if_etag=None)

    with pytest.raises(ConflictError, match="pointer"):
        store.write("pointer", b"two", if_etag=etag)
    with pytest.raises(ObjectMissingError):
        store.info("pointer")


def test_a_missing_object_is_named(store: Store, tmp_path: Path) -> None:
    for ask in (store.info, store.read, lambda key: store.download(key, tmp_path / "out")):
        with pytest.raises(ObjectMissingError, match=r"models/none\.onnx"):
            ask("models/none.onnx")
    assert not (tmp_path / "out").exists()


def test_a_start_of_a_key_is_not_an_object(store: Store) -> None:
    store.write("models/v1/a", b"1", if_etag=None)
    for key in ("models", "models/v1", "models/v"):
        with pytest.raises(ObjectMissingError):
            store.info(key)
        with pytest.raises(ObjectMissingError):
            store.read(key)


def test_an_uploaded_file_is_downloaded_again_byte_for_byte(store: Store, tmp_path: Path) -> None:
    source = a_file(tmp_path, bytes(range(256)) * 10_000)

    assert store.upload(source, "models/big.bin") == sha256_of(source)
    store.download("models/big.bin", tmp_path / "deep" / "copy.bin")
    assert sha256_of(tmp_path / "deep" / "copy.bin") == sha256_of(source)


def test_an_object_larger_than_was_said_is_not_downloaded(store: Store, tmp_path: Path) -> None:
    store.upload(a_file(tmp_path, b"123456"), "key")
    store.download("key", tmp_path / "out", max_bytes=6)
    with pytest.raises(ObjectCorruptError, match="has 6 bytes; expected 5 at most"):
        store.download("key", tmp_path / "other", max_bytes=5)
    assert not (tmp_path / "other").exists()


def test_uploading_the_same_bytes_again_is_a_finished_retry(store: Store, tmp_path: Path) -> None:
    first = store.upload(a_file(tmp_path, b"same"), "key")
    before = store.info("key")

    assert store.upload(a_file(tmp_path, b"same"), "key") == first
    assert store.info("key") == before


def test_uploading_other_bytes_to_a_key_that_exists_is_refused(store: Store, tmp_path: Path) -> None:
    store.upload(a_file(tmp_path, b"old"), "key")

    with pytest.raises(ConflictError, match="exists with other bytes"):
        store.upload(a_file(tmp_path, b"new"), "key")
    assert store.read("key")[0] == b"old"


def test_a_file_that_is_not_there_cannot_be_uploaded(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing\.bin"):
        store.upload(tmp_path / "nothing.bin", "key")
    assert keys(store) == []


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../out", "a/../b", "a//b", "a/", ".", ".lock", "a/.hid", "a\\b", "a\0"]
)
def test_a_key_that_is_no_plain_relative_path_is_refused(store: Store, tmp_path: Path, key: str) -> None:
    for attempt in (
        lambda: store.write(key, b"x", if_etag=None),
        lambda: store.read(key),
        lambda: store.info(key),
        lambda: store.delete(key),
        lambda: store.download(key, tmp_path / "out"),
        lambda: store.upload(a_file(tmp_path, b"x"), key),
    ):
        with pytest.raises(StoreError, match="cannot be a key"):
            attempt()
    assert keys(store) == []


def test_pyarrow_reads_the_store_by_its_keys(store: Store) -> None:
    store.write("t/part-0.bin", b"abc", if_etag=None)
    with store.arrow_filesystem().open_input_file("t/part-0.bin") as file:
        assert file.read() == b"abc"


def test_of_many_threads_that_swap_at_once_exactly_one_wins(store: Store) -> None:
    etag = store.write("pointer", b"start", if_etag=None)
    start, winners = threading.Barrier(6), []

    def swap(name: str) -> None:
        start.wait()
        try:
            store.write("pointer", name.encode(), if_etag=etag)
        except ConflictError:
            return
        winners.append(name)

    threads = [threading.Thread(target=swap, args=(f"rival {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert store.read("pointer")[0] == winners[0].encode()


_write = st.tuples(st.sampled_from(["a", "b/c"]), st.binary(min_size=1, max_size=4), st.booleans())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(writes=st.lists(_write, max_size=6))
def test_a_store_behaves_as_a_dictionary_with_compare_and_swap(
    store: Store, writes: list[tuple[str, bytes, bool]]
) -> None:
    folder = f"case-{len(keys(store))}"
    model: dict[str, tuple[bytes, str]] = {}
    for name, content, knows_the_etag in writes:
        key = f"{folder}/{name}"
        expected = model[key][1] if knows_the_etag and key in model else None
        if key in model and expected is None:
            with pytest.raises(ConflictError):
                store.write(key, content, if_etag=expected)
        else:
            model[key] = (content, store.write(key, content, if_etag=expected))
    assert {key: store.read(key) for key in keys(store, f"{folder}/")} == model


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3://", "s3:///prefix"])
def test_a_uri_that_names_no_store_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="expected s3://bucket/prefix"):
        open_store(uri)
