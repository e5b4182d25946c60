"""What is particular to S3: lost answers, refusals, and the sentences a user reads."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_s3 import LANDED as LANDED_FAULTS
from faulty_s3 import LOST, FaultyS3
from fixtures_s3 import KEYS_PER_PAGE

from bwpredict.errors import ConflictError, ObjectMissingError, StoreError, StoreUnreachableError, UnknownOutcomeError
from bwpredict.store.factory import open_store
from bwpredict.store.s3 import PROBE_NAME, S3Store

LANDED = ["500 landed", "cut landed"]


@pytest.mark.parametrize("fault", ["409", "500 lost", *LANDED])
def test_a_write_whose_answer_was_lost_is_settled_by_reading_again(
    faulty_s3: FaultyS3, s3_bucket: str, fault: str
) -> None:
    store = open_store(f"s3://{s3_bucket}/p")
    etag = store.write("pointer", b"one", if_etag=None)

    faulty_s3.faults.append(fault)
    assert store.write("pointer", b"two", if_etag=etag) == store.info("pointer").etag
    assert store.read("pointer")[0] == b"two"


@pytest.mark.parametrize("fault", ["409", "500 lost", *LANDED])
def test_an_upload_whose_answer_was_lost_is_settled_by_reading_again(
    faulty_s3: FaultyS3, s3_bucket: str, tmp_path: Path, fault: str
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    faulty_s3.faults.append(fault)
    store = open_store(f"s3://{s3_bucket}")
    store.upload(tmp_path / "file", "models/file")
    assert store.read("models/file")[0] == b"content"


@pytest.mark.parametrize("fault", ["409", "500 lost"])
def test_a_write_that_never_gets_a_clear_answer_has_an_unknown_outcome(
    faulty_s3: FaultyS3, s3_bucket: str, fault: str
) -> None:
    store = open_store(f"s3://{s3_bucket}")
    faulty_s3.faults.extend([fault] * 20)
    with pytest.raises(UnknownOutcomeError, match=r"pointer: .* may or may not have landed"):
        store.write("pointer", b"one", if_etag=None)


@pytest.mark.parametrize("fault", LANDED)
def test_a_lost_answer_is_no_lost_race_when_a_rival_built_upon_our_write(
    faulty_s3: FaultyS3, s3_bucket: str, fault: str
) -> None:
    store, rival = open_store(f"s3://{s3_bucket}"), open_store(f"s3://{s3_bucket}")

    def overtake() -> None:
        faulty_s3.before_answer = None
        rival.write("pointer", b"rival", if_etag=rival.info("pointer").etag)

    faulty_s3.faults.append(fault)
    faulty_s3.before_answer = overtake
    with pytest.raises(UnknownOutcomeError):
        store.write("pointer", b"ours", if_etag=None)
    assert store.read("pointer")[0] == b"rival"


def test_a_rival_between_read_and_write_is_a_conflict(s3_bucket: str) -> None:
    store, rival = open_store(f"s3://{s3_bucket}"), open_store(f"s3://{s3_bucket}")
    etag = store.write("pointer", b"one", if_etag=None)
    rival.write("pointer", b"rival", if_etag=etag)
    with pytest.raises(ConflictError, match="another writer came first"):
        store.write("pointer", b"ours", if_etag=etag)


def test_a_server_without_conditional_writes_is_refused(faulty_s3: FaultyS3, s3_bucket: str) -> None:
    faulty_s3.faults.append("501")
    with pytest.raises(StoreUnreachableError, match="no conditional writes"):
        open_store(f"s3://{s3_bucket}").write("pointer", b"one", if_etag=None)


def test_a_server_that_ignores_conditions_is_refused_before_anything_is_written(
    faulty_s3: FaultyS3, s3_bucket: str, tmp_path: Path
) -> None:
    faulty_s3.choose = lambda _: "unconditional"
    (tmp_path / "file").write_bytes(b"x")
    store = open_store(f"s3://{s3_bucket}/p")
    for attempt in (
        lambda: store.write("pointer", b"one", if_etag=None),
        lambda: store.upload(tmp_path / "file", "file"),
    ):
        assert "the server ignores the conditions of writes (If-Match, If-None-Match)" in _sentence_of(attempt)
    assert list(store.list()) == []


@pytest.mark.parametrize("ignored", ["if-match", "if-none-match"])
def test_both_conditions_must_be_honoured(faulty_s3: FaultyS3, s3_bucket: str, ignored: str) -> None:
    faulty_s3.choose = lambda asked: "unconditional" if ignored in asked.headers else ""
    assert "two publishers could both win" in _sentence_of(
        lambda: open_store(f"s3://{s3_bucket}/p").write("pointer", b"one", if_etag=None)
    )


def test_the_server_is_probed_once_a_process(faulty_s3: FaultyS3, s3_bucket: str) -> None:
    for prefix in ("one", "two"):
        open_store(f"s3://{s3_bucket}/{prefix}").write("pointer", b"one", if_etag=None)
    assert [asked.key.partition("/")[2] for asked in faulty_s3.asked] == [
        *[f"one/{PROBE_NAME}"] * 3,
        "one/pointer",
        "two/pointer",
    ]


@pytest.mark.parametrize("fault", [*LOST, *LANDED_FAULTS])
def test_every_operation_tells_the_truth_after_one_fault(
    faulty_s3: FaultyS3, s3_bucket: str, tmp_path: Path, fault: str
) -> None:
    """It does what it says, or refuses with a sentence; a lost race is only said where nothing can have landed."""
    store = S3Store(s3_bucket, "p", timeout_seconds=1.5, backoff_seconds=0.01)
    (tmp_path / "file").write_bytes(b"file")
    etag = store.write("pointer", b"one", if_etag=None)
    operations: dict[str, Callable[[], object]] = {
        "list": lambda: [info.key for info in store.list()] == ["pointer"],
        "info": lambda: store.info("pointer").size_bytes == 3,
        "read": lambda: store.read("pointer") == (b"one", etag),
        "download": lambda: store.download("pointer", tmp_path / "out") or (tmp_path / "out").read_bytes() == b"one",
        "create": lambda: store.write("new", b"new", if_etag=None) == store.read("new")[1],
        "upload": lambda: store.upload(tmp_path / "file", "file") and store.read("file")[0] == b"file",
        "swap": lambda: store.write("pointer", b"two", if_etag=etag) == store.read("pointer")[1],
        "delete": lambda: store.delete("new") or "new" not in list(store.keys()),
    }
    for name, operate in operations.items():
        pending = [fault]
        faulty_s3.choose = lambda _, pending=pending: pending.pop() if pending else ""
        try:
            assert operate(), f"{fault} at {name}"
        except ConflictError:
            assert fault == "412", f"{fault} at {name}"
            assert name in ("create", "upload", "swap")
        except StoreUnreachableError:
            assert fault in ("409", "412"), f"{fault} at {name}"  # no server answers this to a reader
    faulty_s3.choose = None
    assert store.read("pointer")[0] == (b"one" if fault == "412" else b"two")


def test_a_missing_bucket_is_named_by_every_operation(s3_environment: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    store = open_store("s3://no-such-bucket/p")
    for attempt in (
        lambda: list(store.list()),
        lambda: store.info("a"),
        lambda: store.read("a"),
        lambda: store.download("a", tmp_path / "out"),
        lambda: store.write("a", b"x", if_etag=None),
        lambda: store.write("a", b"x", if_etag="etag"),
        lambda: store.upload(tmp_path / "file", "a"),
    ):
        with pytest.raises(StoreUnreachableError, match=r"'no-such-bucket' at .*: there is no such bucket; create it"):
            attempt()
    assert s3_environment in _sentence_of(lambda: store.info("a"))


@pytest.mark.usefixtures("s3_asks_for_credentials")
def test_wrong_credentials_are_said_without_the_secret(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    store = open_store("s3://some-bucket")
    for attempt in (lambda: store.info("a"), lambda: store.write("a", b"x", if_etag=None)):
        sentence = _sentence_of(attempt)
        assert "'some-bucket'" in sentence
        assert s3_environment in sentence
        assert "check AWS_ACCESS_KEY_ID" in sentence
        assert "do-not-tell" not in sentence


@pytest.mark.usefixtures("s3_environment")
def test_missing_credentials_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = open_store("s3://some-bucket")
    for attempt in (lambda: store.info("a"), lambda: store.write("a", b"x", if_etag=None), store.arrow_filesystem):
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in _sentence_of(attempt)


@pytest.mark.usefixtures("s3_environment")
def test_an_endpoint_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:do-not-tell@127.0.0.1:{nobody.getsockname()[1]}")
        store = open_store("s3://some-bucket")
        for attempt in (lambda: store.info("a"), lambda: store.write("a", b"x", if_etag=None)):
            sentence = _sentence_of(attempt)
            assert f"127.0.0.1:{nobody.getsockname()[1]}" in sentence
            assert "check AWS_ENDPOINT_URL" in sentence
            assert "do-not-tell" not in sentence


@pytest.mark.usefixtures("s3_environment")
def test_an_endpoint_that_is_no_url_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not a url")
    with pytest.raises(StoreUnreachableError, match="some-bucket"):
        open_store("s3://some-bucket")


@pytest.mark.usefixtures("s3_environment")
def test_a_name_that_no_bucket_can_have_is_refused() -> None:
    with pytest.raises(StoreUnreachableError, match="Not A Bucket"):
        open_store("s3://Not A Bucket").info("a")


def test_a_listing_goes_over_all_pages(s3_bucket: str, s3_environment: str) -> None:
    names = sorted(f"part-{number}" for number in range(2 * KEYS_PER_PAGE + 1))
    for name in names:
        request = urllib.request.Request(f"{s3_environment}/{s3_bucket}/many/{name}", data=b"x", method="PUT")  # noqa: S310
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310
    assert [info.key for info in open_store(f"s3://{s3_bucket}/many").list()] == names


def test_two_prefixes_of_one_bucket_are_two_stores(s3_bucket: str) -> None:
    first, second = open_store(f"s3://{s3_bucket}/one"), open_store(f"s3://{s3_bucket}/one-more")
    first.write("key", b"first", if_etag=None)
    assert list(second.list()) == []
    with pytest.raises(ObjectMissingError):
        second.read("key")
    assert S3Store(s3_bucket).read("one/key")[0] == b"first"


def _sentence_of(attempt: Any) -> str:
    with pytest.raises(StoreError) as caught:
        attempt()
    assert isinstance(caught.value, StoreUnreachableError)
    return str(caught.value)
