"""The registry on a real S3 server behind a proxy that fails: at each kind of request, in every way."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, V3, Challenger, a_challenger, contents, published, three_published
from faulty_s3 import LANDED, LOST, Asked, FaultyS3
from fixtures_s3 import KEYS_PER_PAGE, put_objects

from bwpredict.errors import BwPredictError, ObjectCorruptError, StoreUnreachableError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.registry.retention import RetentionPolicy, delete_old_versions, plan_retention
from bwpredict.registry.versions import fetch, list_versions, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.store.s3 import S3Store

Wanted = Callable[[Asked], bool]
REQUESTS: dict[str, Wanted] = {
    "the first file": lambda asked: asked.method == "PUT" and "snapshot.json" in asked.key,
    "reading a file back": lambda asked: asked.method == "GET" and "snapshot.json" in asked.key,
    "the manifest": lambda asked: asked.method == "PUT" and "MANIFEST" in asked.key,
    "the pointer": lambda asked: asked.method == "PUT" and "production" in asked.key,
    "reading the pointer": lambda asked: asked.method == "GET" and "production" in asked.key,
    "the record before": lambda asked: asked.method == "PUT" and "history/" in asked.key,
    "listing the history": lambda asked: asked.is_list and "history/" in asked.key,
}
CLEANUP_REQUESTS: dict[str, Wanted] = {
    "reading the pointer": REQUESTS["reading the pointer"],
    "listing the history": REQUESTS["listing the history"],
    "listing the versions": lambda asked: asked.is_list and "models/" in asked.key,
    "the pointer": REQUESTS["the pointer"],
    "the record": REQUESTS["the record before"],
    "deleting the manifest": lambda asked: asked.method == "DELETE" and "MANIFEST" in asked.key,
    "deleting a file": lambda asked: asked.method == "DELETE" and "snapshot.json" in asked.key,
}
NOTHING = RetentionPolicy(keep=0)
SOON = datetime.now(UTC) + timedelta(days=30)
"""When everything that a test writes is old."""

TIMEOUT = 1.5
"""Seconds; long enough for a busy machine."""


@pytest.fixture
def quick_store(faulty_s3: FaultyS3, s3_bucket: str) -> S3Store:
    """A store behind the proxy that is out of patience soon."""
    return S3Store(s3_bucket, "registry", timeout_seconds=TIMEOUT, backoff_seconds=0.01)


@pytest.fixture
def begin(quick_store: S3Store, s3_environment: str, tmp_path: Path) -> Callable[..., None]:
    """Fill the store with what these steps leave in a registry."""

    def begin_(*steps: Callable[[Store], object]) -> None:
        made = open_store(str(tmp_path / "begun"))
        for step in steps:
            step(made)
        objects = {f"{quick_store.prefix}/{key}": content for key, content in contents(made).items()}
        put_objects(s3_environment, quick_store.bucket, objects)

    return begin_


QUICK = ("500 lost", "412", "reset landed", "stale")
FAULTS = [fault if fault in QUICK else pytest.param(fault, marks=pytest.mark.slow) for fault in (*LOST, *LANDED)]


def single_faults(requests: dict[str, Wanted]) -> list[tuple[str, str]]:
    """Every fault at the pointer, and one of each kind at the other requests."""
    faults = (*LOST, *LANDED)
    return [
        (fault, what)
        for fault in faults
        for what in requests
        if (fault in QUICK or "pointer" in what) and is_possible(fault, what)
    ]


def is_possible(fault: str, what: str) -> bool:
    """Only a listing can be stale, and only a conditional write is refused with 409 or 412."""
    if fault == "stale":
        return what.startswith("listing")
    return fault not in ("409", "412") or not what.startswith(("reading", "listing", "deleting"))


def once(wanted: Wanted, fault: str) -> Callable[[Asked], str]:
    """The fault for the first request that is wanted."""
    pending = [fault]
    return lambda asked: pending.pop() if pending and wanted(asked) else ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_publication_outlives_a_fault_at_each_kind_of_request(
    faulty_s3: FaultyS3, quick_store: S3Store, begin: Callable[..., None], tmp_path: Path, fault: str
) -> None:
    """All in one publication, which is run again until it is done."""
    begin(lambda store: published(store, a_challenger(tmp_path, V1)))
    pending = dict(REQUESTS)

    def choose(asked: Asked) -> str:
        hit = next((what for what, wanted in pending.items() if wanted(asked)), None)
        return fault if hit and pending.pop(hit) else ""

    faulty_s3.choose = choose
    challenger = a_challenger(tmp_path, V2, champion=V1)
    _publish_until_done(quick_store, challenger, fault)
    assert not pending
    faulty_s3.choose = None
    assert [(made.sequence, made.version) for made in read_history(quick_store)] == [(1, V1), (2, V2)]
    assert audit_registry(quick_store).problems == []


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "what"), single_faults(REQUESTS))
def test_a_publication_outlives_one_fault_at_any_kind_of_request(
    faulty_s3: FaultyS3, quick_store: S3Store, begin: Callable[..., None], tmp_path: Path, fault: str, what: str
) -> None:
    begin(lambda store: published(store, a_challenger(tmp_path, V1)))
    faulty_s3.choose = once(REQUESTS[what], fault)
    _publish_until_done(quick_store, a_challenger(tmp_path, V2, champion=V1), fault)
    assert [(made.sequence, made.version) for made in read_history(quick_store)] == [(1, V1), (2, V2)]
    assert audit_registry(quick_store).problems == []


def _publish_until_done(store: S3Store, challenger: Challenger, fault: str) -> None:
    """Run again after each refusal; only an answer that no server gives to such a request may be one."""
    for _ in range(len(REQUESTS) + 1):
        try:
            made = published(store, challenger)
        except BwPredictError as error:
            assert fault in ("409", "412", "stale"), f"{fault}: {error}"  # noqa: PT017
        else:
            assert made.version == challenger.version
            return
    raise AssertionError("never done")


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "stale"])
def test_a_promotion_and_a_rollback_outlive_a_fault_at_the_pointer(
    faulty_s3: FaultyS3, quick_store: S3Store, begin: Callable[..., None], tmp_path: Path, fault: str
) -> None:
    begin(lambda store: three_published(store, tmp_path))
    for move, expected in ((partial(promote, version=V1), V1), (partial(rollback, expected_version=V1), V3)):
        for what in filter(partial(is_possible, fault), ("the pointer", "reading the pointer")):
            faulty_s3.choose = once(REQUESTS[what], fault)
            try:
                move(quick_store, promoted_by="me", now=NOW)
            except BwPredictError as error:
                assert fault in ("409", "412"), f"{fault} at {what}: {error}"  # noqa: PT017
            faulty_s3.choose = None
        assert move(quick_store, promoted_by="me", now=NOW).version == expected
    assert [made.kind for made in read_history(quick_store)[3:]] == ["promotion", "rollback"]


@pytest.mark.parametrize("fault", ["503 lost", "reset lost", "truncated"])
def test_a_reader_waits_out_a_fault_and_gives_up_with_a_sentence(
    faulty_s3: FaultyS3, quick_store: S3Store, tmp_path: Path, fault: str
) -> None:
    made = published(quick_store, a_challenger(tmp_path, V1))
    readers: dict[str, Callable[[], object]] = {
        "read_production": lambda: read_production(quick_store),
        "read_history": lambda: read_history(quick_store),
        "list_versions": lambda: list_versions(quick_store),
        "verify_version": lambda: verify_version(quick_store, V1),
        "fetch": lambda: fetch(quick_store, V1, ["profile.json"], tmp_path / "out"),
    }
    for name, read in readers.items():
        faulty_s3.choose = once(lambda _: True, fault)
        assert read(), name
        faulty_s3.choose = lambda _: fault
        with pytest.raises(StoreUnreachableError, match=r"s3 bucket '.*' at http://127"):
            read()
    faulty_s3.choose = None
    assert read_production(quick_store) == made
    assert (tmp_path / "out" / "profile.json").is_file()


def test_a_stale_listing_is_not_taken_for_the_truth(faulty_s3: FaultyS3, quick_store: S3Store, tmp_path: Path) -> None:
    published(quick_store, a_challenger(tmp_path, V1))
    read_history(quick_store)
    stale = dict(faulty_s3.listings)
    published(quick_store, a_challenger(tmp_path, V2, champion=V1))
    published(quick_store, a_challenger(tmp_path, V3, champion=V2))
    faulty_s3.choose = lambda asked: "stale" if asked.is_list else ""
    for attempt in (
        lambda: read_history(quick_store),
        lambda: published(quick_store, a_challenger(tmp_path, "v20261202_000000", champion=V3)),
    ):
        faulty_s3.listings.update(stale)
        with pytest.raises(ObjectCorruptError, match="the record of move 2 is gone"):
            attempt()
    faulty_s3.choose = None
    assert [made.version for made in read_history(quick_store)] == [V1, V2, V3]


def test_versions_are_listed_in_one_request_for_each_page(
    faulty_s3: FaultyS3, quick_store: S3Store, tmp_path: Path
) -> None:
    three_published(quick_store, tmp_path)
    objects = sum(1 for _ in quick_store.keys("models/"))
    faulty_s3.asked.clear()
    assert list_versions(quick_store) == [V1, V2, V3]
    assert len(faulty_s3.asked) == math.ceil(objects / KEYS_PER_PAGE)


def test_planning_a_cleanup_takes_the_pointer_two_listings_and_the_records_of_cleanups(
    faulty_s3: FaultyS3, quick_store: S3Store, tmp_path: Path
) -> None:
    three_published(quick_store, tmp_path)
    rollback(quick_store, promoted_by="me", now=NOW)
    delete_old_versions(quick_store, NOTHING, made_by="me", now=SOON)
    objects = sum(1 for _ in quick_store.keys("models/"))
    faulty_s3.asked.clear()
    assert plan_retention(quick_store, NOTHING, now=SOON).doomed == []
    read = [asked.key for asked in faulty_s3.asked if not asked.is_list]
    assert [key.rpartition("/")[2] for key in read] == ["production.json"]  # which is the record of the cleanup too
    assert len(faulty_s3.asked) == 1 + 1 + math.ceil(objects / KEYS_PER_PAGE)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "what"), single_faults(CLEANUP_REQUESTS))
def test_a_cleanup_outlives_one_fault_at_any_kind_of_request(
    faulty_s3: FaultyS3, quick_store: S3Store, begin: Callable[..., None], tmp_path: Path, fault: str, what: str
) -> None:
    begin(lambda store: three_published(store, tmp_path), partial(rollback, promoted_by="me", now=NOW))
    faulty_s3.choose = once(CLEANUP_REQUESTS[what], fault)
    try:
        delete_old_versions(quick_store, NOTHING, made_by="me", now=SOON)
    except BwPredictError as error:
        assert fault in ("409", "412", "stale"), f"{fault} at {what}: {error}"  # noqa: PT017
    faulty_s3.choose = None
    assert audit_registry(quick_store).problems == []
    delete_old_versions(quick_store, NOTHING, made_by="me", now=SOON)
    assert list_versions(quick_store) == [V1, V2]
    assert not list(quick_store.keys(f"models/{V3}/"))
    assert [made.kind for made in read_history(quick_store)[3:]] == ["rollback", "cleanup"]
    assert audit_registry(quick_store).problems == []
