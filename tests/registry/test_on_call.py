"""What an operator meets with the S3 server: full, read-only, slow, with another clock, with other keys.

A real server throughout: moto checks keys, signatures and policies; the proxy in front of it adds what it cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from challengers import V1, V2, Challenger, a_challenger, published
from faulty_s3 import Asked, FaultyS3
from fixtures_s3 import asking_for_credentials
from s3_users import READ, WRITE, Key, Users, use, use_file

from bwpredict.errors import StoreError, StoreUnreachableError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import read_history, read_production
from bwpredict.registry.versions import fetch
from bwpredict.store.s3 import S3Store

MOMENTS = ("snapshot.json", "MANIFEST.json", "production.json")
"""A publication's writes: one of the first, the last but one, the last."""
SKEW_ALLOWED = timedelta(minutes=15)
"""What S3 tolerates between the time of a request and its own."""


@pytest.fixture
def registry(faulty_s3: FaultyS3, s3_bucket: str, tmp_path: Path) -> S3Store:
    """With one version in production; its server fails as `faulty_s3` is told."""
    del faulty_s3
    store = S3Store(s3_bucket, "registry", backoff_seconds=0.01)
    published(store, a_challenger(tmp_path, V1))
    return store


@pytest.fixture
def challenger(tmp_path: Path) -> Challenger:
    """To be published while the server fails."""
    return a_challenger(tmp_path, V2, champion=V1)


def test_a_server_that_gets_full_in_mid_publication_keeps_the_old_model_until_there_is_space(
    faulty_s3: FaultyS3, registry: S3Store, challenger: Challenger, tmp_path: Path
) -> None:
    for moment in MOMENTS:
        faulty_s3.choose = from_write(moment, "full")
        with pytest.raises(StoreUnreachableError, match=r"the server is out of space; free some and run again\.$"):
            published(registry, challenger)
        assert_still_serves(registry, V1, tmp_path)
    faulty_s3.choose = None
    assert_published_once(registry, challenger)


def test_a_used_up_quota_is_named(faulty_s3: FaultyS3, registry: S3Store, challenger: Challenger) -> None:
    faulty_s3.choose = from_write("snapshot.json", "over quota")
    with pytest.raises(StoreUnreachableError, match="the quota is used up; raise it or free some space"):
        published(registry, challenger)


def test_a_slow_server_costs_time_alone(faulty_s3: FaultyS3, registry: S3Store, challenger: Challenger) -> None:
    faulty_s3.delay_seconds = 0.05
    assert_published_once(registry, challenger)


def test_a_server_slower_than_the_patience_changes_nothing_that_a_retry_does_not_finish(
    faulty_s3: FaultyS3, registry: S3Store, challenger: Challenger
) -> None:
    impatient = S3Store(registry.bucket, registry.prefix, timeout_seconds=0.2, backoff_seconds=0.01)
    faulty_s3.delay_seconds = 0.6
    with pytest.raises(StoreError, match=r"no answer \(ReadTimeoutError\); check AWS_ENDPOINT_URL"):
        published(impatient, challenger)
    faulty_s3.delay_seconds = 0
    assert_published_once(registry, challenger)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_is_named_and_nothing_is_written(
    faulty_s3: FaultyS3, registry: S3Store, challenger: Challenger, hours: int
) -> None:
    def other_clock(asked: Asked) -> str:
        sent = datetime.strptime(asked.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return "skewed" if abs(datetime.now(UTC) + timedelta(hours=hours) - sent) > SKEW_ALLOWED else ""

    faulty_s3.choose = other_clock
    clocks = "the clocks of this machine and of the server differ too much; set both by NTP"
    for attempt in (lambda: published(registry, challenger), lambda: read_production(registry)):
        with pytest.raises(StoreUnreachableError, match=clocks):
            attempt()
    faulty_s3.choose = None
    assert_published_once(registry, challenger)


@pytest.fixture
def users(s3_server: str, registry: S3Store) -> Iterator[Users]:
    """From now on the server asks who it is."""
    del registry
    known = Users(s3_server)
    with asking_for_credentials(s3_server):
        yield known


def test_a_server_that_allows_no_writes_is_named_and_still_serves(
    users: Users, registry: S3Store, challenger: Challenger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(users.add("reader", READ), monkeypatch)
    reader = S3Store(registry.bucket, registry.prefix)
    for attempt in (lambda: published(reader, challenger), lambda: reader.delete("production.json")):
        with pytest.raises(StoreUnreachableError, match="access is denied; check the credentials and the bucket's"):
            attempt()
    assert_still_serves(reader, V1, tmp_path)
    use(users.add("writer", WRITE), monkeypatch)
    assert_published_once(S3Store(registry.bucket, registry.prefix), challenger)


def test_keys_rotated_in_mid_publication_are_named_and_a_retry_with_the_new_ones_finishes(
    users: Users,
    faulty_s3: FaultyS3,
    registry: S3Store,
    challenger: Challenger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keys are in a file, as where a secret is mounted: a new process reads it anew."""
    for moment in MOMENTS:
        key = users.add("worker", WRITE)
        use_file(key, tmp_path / "credentials", monkeypatch)
        worker = S3Store(registry.bucket, registry.prefix, backoff_seconds=0.01)
        pending = [key]

        def rotate(asked: Asked, moment: str = moment, pending: list[Key] = pending) -> str:
            if pending and asked.method == "PUT" and moment in asked.key:
                use_file(users.rotated(pending.pop()), tmp_path / "credentials", monkeypatch)
            return ""

        faulty_s3.choose = rotate
        with pytest.raises(StoreUnreachableError, match="the access key is unknown; check AWS_ACCESS_KEY_ID"):
            published(worker, challenger)
        faulty_s3.choose = None
        assert_still_serves(S3Store(registry.bucket, registry.prefix), V1, tmp_path)
    assert_published_once(S3Store(registry.bucket, registry.prefix), challenger)


def from_write(name: str, fault: str) -> Callable[[Asked], str]:
    """The fault for every write from that of a key with this name on."""
    begun = []

    def choose(asked: Asked) -> str:
        if asked.method == "PUT" and name in asked.key:
            begun.append(asked)
        return fault if begun and asked.method == "PUT" else ""

    return choose


def assert_still_serves(store: S3Store, version: str, folder: Path) -> None:
    production = read_production(store)
    assert production is not None
    assert production.version == version
    assert fetch(store, version, ["profile.json"], folder / "fetched")
    assert audit_registry(store).problems == []


def assert_published_once(store: S3Store, challenger: Challenger) -> None:
    published(store, challenger)
    assert [(made.sequence, made.version) for made in read_history(store)] == [(1, V1), (2, challenger.version)]
    assert audit_registry(store).problems == []
