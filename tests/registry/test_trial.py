"""Canaries: moves of the pointer that leave what serves as it is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from challengers import NOW, V1, V2, V3, a_challenger, published, three_published

from bwpredict.errors import BwPredictError, ConfigError, ConflictError, GateRejected, ObjectMissingError
from bwpredict.registry import retention
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.canary import begin_canary, end_canary
from bwpredict.registry.history import read_history
from bwpredict.registry.layout import model_key
from bwpredict.registry.pointer import read_production
from bwpredict.registry.promotion import promote, rollback
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

BY = {"made_by": "me", "now": NOW}


@pytest.fixture
def tried(store: Store, tmp_path: Path) -> Store:
    """V2 serves after V3 was rolled back; V3 is tried on a tenth of the links."""
    three_published(store, tmp_path)
    rollback(store, promoted_by="me", now=NOW)
    begin_canary(store, V3, 0.1, **BY, reason="better at night?")
    return store


def test_a_canary_leaves_production_as_it_is_and_is_recorded(tried: Store) -> None:
    production = read_production(tried)
    before, move = read_history(tried)[-2:]
    assert (production.version, production.promoted_at, production.previous) == (V2, before.promoted_at, V1)
    assert (move.kind, move.made_by, move.reason) == ("canary", "me", "better at night?")
    assert (production.candidate.version, production.candidate.share) == (V3, 0.1)


def test_the_share_can_change_and_the_trial_keeps_its_beginning(tried: Store) -> None:
    later = begin_canary(tried, V3, 0.5, made_by="me", now=NOW + timedelta(days=1))
    assert later.candidate.share == 0.5
    assert later.candidate.since == NOW.isoformat(timespec="seconds")
    assert begin_canary(tried, V3, 0.5, **BY) == later


def test_ending_returns_all_links_to_production(tried: Store) -> None:
    ended = end_canary(tried, **BY, reason="no better")
    assert (ended.kind, ended.version, ended.candidate, ended.reason) == ("canary", V2, None, "no better")
    assert end_canary(tried, **BY) == ended
    assert read_production(tried) == ended


def test_a_promotion_or_a_rollback_ends_the_trial(tried: Store) -> None:
    assert promote(tried, V3, promoted_by="me", now=NOW).candidate is None
    begin_canary(tried, V1, 0.1, **BY)
    back = rollback(tried, promoted_by="me", now=NOW)
    assert (back.version, back.candidate) == (V2, None)


def test_rollbacks_lead_past_a_canary(tried: Store) -> None:
    assert rollback(tried, promoted_by="me", now=NOW).version == V1


def test_a_cleanup_keeps_the_candidate_and_goes_on_with_the_trial(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    three_published(store, tmp_path)
    rollback(store, promoted_by="me", now=NOW)
    published(store, a_challenger(tmp_path, "v20261102_000000", champion=V2), allow_older=True)
    rollback(store, promoted_by="me", now=NOW)
    begin_canary(store, V3, 0.1, **BY)
    policy = retention.RetentionPolicy(0, minimum_age=timedelta())
    cleaned = retention.delete_old_versions(store, policy, made_by="me", now=NOW + timedelta(days=3650))
    assert cleaned.versions == ["v20261102_000000"]
    assert read_production(store).kind == "cleanup"
    assert read_production(store).candidate.version == V3


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_a_share_out_of_bounds_is_refused(tried: Store, share: float) -> None:
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        begin_canary(tried, V3, share, **BY)


@pytest.mark.parametrize(
    ("version", "error", "says"),
    [
        (V2, ConfigError, "is in production"),
        (V1, GateRejected, f"{V3} is the canary"),
        ("v20990101_000000", GateRejected, f"{V3} is the canary"),
        ("latest", GateRejected, "is the canary"),
    ],
)
def test_a_candidate_that_cannot_be_is_refused(
    tried: Store, version: str, error: type[BwPredictError], says: str
) -> None:
    with pytest.raises(error, match=says):
        begin_canary(tried, version, 0.1, **BY)


def test_a_candidate_that_is_not_published_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is in production"):
        begin_canary(store, V1, 0.1, **BY)
    three_published(store, tmp_path)
    with pytest.raises(ObjectMissingError, match="not published"):
        begin_canary(store, "v20990101_000000", 0.1, **BY)
    with pytest.raises(ConflictError):
        begin_canary(store, V1, 0.1, **BY, expected_version=V2)


def test_verify_tells_of_a_candidate_whose_file_is_not_the_one_that_began(tried: Store) -> None:
    assert audit_registry(tried).problems == []
    tried.delete(model_key(V3, "MANIFEST.json"))
    assert any(f"its canary {V3} is not published" in problem for problem in audit_registry(tried).problems)
