"""Publishing: all or nothing, once, and only what the gate let through. On a local folder and on S3."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from challengers import (
    MONTHS,
    NOW,
    V1,
    V2,
    V3,
    Died,
    Interposed,
    a_challenger,
    contents,
    dies_at,
    once_at,
    published,
)

from bwpredict.errors import ConfigError, ConflictError, GateRejected, UnknownOutcomeError
from bwpredict.registry.layout import metadata_name, onnx_name, required_files
from bwpredict.registry.promotion import promote, read_history, read_production
from bwpredict.registry.versions import fetch, list_versions, verify_version
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store


def test_nothing_is_in_production_of_an_empty_registry(store: Store) -> None:
    assert read_production(store) is None
    assert read_history(store) == []
    assert list_versions(store) == []


def test_a_published_version_is_in_production_and_fetched_byte_for_byte(store: Store, tmp_path: Path) -> None:
    challenger = a_challenger(tmp_path, V1)
    made = published(store, challenger)

    production = read_production(store)
    assert production == made
    assert production is not None
    assert (production.version, production.month, production.kind) == (V1, MONTHS[V1], "bootstrap")
    assert (production.previous, production.replaced, production.sequence) == (None, None, 1)
    assert (production.promoted_at, production.promoted_by) == ("2026-12-24T18:30:00+00:00", "run 1")
    assert hashlib.sha256(store.read(production.onnx_key)[0]).hexdigest() == production.sha256
    assert hashlib.sha256(store.read(production.decision["key"])[0]).hexdigest() == production.decision["sha256"]
    names = [onnx_name(V1), metadata_name(V1), "profile.json", "parity.json"]
    for path in fetch(store, V1, names, tmp_path / "champion"):
        assert path.read_bytes() == (challenger.folder / path.name).read_bytes()
    assert set(verify_version(store, V1).sha256) == {*required_files(V1), "parity.json"}


def test_files_come_first_then_the_manifest_then_the_pointer_then_the_record(
    local_store: Store, tmp_path: Path
) -> None:
    seen = Interposed(local_store)
    made = published(seen, a_challenger(tmp_path, V1))

    assert seen.written[-3:] == [f"models/{V1}/MANIFEST.json", "production.json", made.record_key]
    assert {key.rpartition("/")[0] for key in seen.written[:-3]} == {f"models/{V1}"}


def test_a_second_version_replaces_the_first_and_history_keeps_both(local_store: Store, tmp_path: Path) -> None:
    first = published(local_store, a_challenger(tmp_path, V1))
    second = published(local_store, a_challenger(tmp_path, V2, champion=V1), now=NOW + timedelta(days=31))

    assert (second.kind, second.previous, second.replaced, second.sequence) == ("promotion", V1, V1, 2)
    assert read_history(local_store) == [first, second]
    assert list_versions(local_store) == [V1, V2]


def test_publishing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    challenger = a_challenger(tmp_path, V1)
    made = published(store, challenger)
    before = contents(store)

    assert published(store, challenger, now=NOW + timedelta(hours=1)) == made
    assert contents(store) == before


WRITES = len(required_files(V2)) + 1 + 4
"""Of a second version: files, an optional file, MANIFEST.json, the first one's record, pointer, record."""
MANIFEST, POINTER, RECORD = WRITES - 4, WRITES - 2, WRITES - 1


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(WRITES))
def test_a_run_killed_at_any_write_is_finished_by_running_it_again(tmp_path: Path, number: int, landed: bool) -> None:
    _kill_and_finish(open_store(str(tmp_path / "killed")), open_store(str(tmp_path / "calm")), tmp_path, number, landed)


@pytest.mark.parametrize("landed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [MANIFEST, POINTER])
def test_a_run_killed_on_s3_is_finished_too(s3_bucket: str, tmp_path: Path, number: int, landed: bool) -> None:
    killed, calm = open_store(f"s3://{s3_bucket}/killed"), open_store(str(tmp_path / "calm"))
    _kill_and_finish(killed, calm, tmp_path, number, landed)


def _kill_and_finish(killed: Store, calm: Store, folder: Path, number: int, landed: bool) -> None:
    first, second = a_challenger(folder, V1), a_challenger(folder, V2, champion=V1)
    for store in (killed, calm):
        published(store, first)
    published(calm, second)

    with pytest.raises(Died):
        published(dies_at(number, landed=landed, store=killed), second)
    pointer_moved = number + landed > POINTER
    production = read_production(killed)
    assert production is not None
    assert production.version == (V2 if pointer_moved else V1)
    assert [move.version for move in read_history(killed)] == ([V1, V2] if pointer_moved else [V1])
    verify_version(killed, production.version)
    assert V2 not in list_versions(killed) or number + landed > MANIFEST

    published(killed, second)
    assert contents(killed) == contents(calm)


def test_a_promotion_whose_record_was_never_written_gets_it_from_the_next_one(
    local_store: Store, tmp_path: Path
) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    with pytest.raises(Died):
        published(dies_at(RECORD, landed=False, store=local_store), a_challenger(tmp_path, V2, champion=V1))
    assert len(list(local_store.list("history/"))) == 1

    published(local_store, a_challenger(tmp_path, V3, champion=V2))
    assert [info.key.split("_", 1)[1] for info in local_store.list("history/")] == [
        f"{V1}_bootstrap.json",
        f"{V2}_promotion.json",
        f"{V3}_promotion.json",
    ]


def test_a_run_finished_late_says_it_was_promoted_and_moves_nothing(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    interrupted = a_challenger(tmp_path, V2, champion=V1)
    with pytest.raises(Died):
        published(dies_at(POINTER, landed=True, store=local_store), interrupted)
    published(local_store, a_challenger(tmp_path, V3, champion=V2))
    before = contents(local_store)

    made = published(local_store, interrupted)
    assert (made.version, made.sequence) == (V2, 2)
    assert contents(local_store) == before


REFUSED: dict[str, dict[str, Any]] = {
    "rejected": {"outcome": "reject", "passed": False},
    "outcome alone": {"outcome": "promote", "passed": False},
    "passed alone": {"outcome": "reject", "passed": True},
    "passed as text": {"passed": "true"},
    "passed as number": {"passed": 1},
    "passed unsaid": {"passed": ...},
    "outcome unsaid": {"outcome": ...},
    "another version": {"version": V3},
    "another month": {"month": "2020-01"},
    "another model": {"challenger_sha256": "0" * 64},
    "model unsaid": {"challenger_sha256": ...},
    "champion unsaid": {"champion_version": ...},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_what_the_gate_did_not_let_through_never_appears(tmp_path: Path, changes: dict[str, Any]) -> None:
    store = open_store(str(tmp_path / "root"))
    challenger = a_challenger(tmp_path, V1).decided(**changes)
    with pytest.raises(GateRejected, match=V1):
        published(store, challenger, month=MONTHS[V1])
    assert contents(store) == {}


def test_a_rejected_challenger_leaves_s3_as_it_was(s3_bucket: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3_bucket}/models")
    with pytest.raises(GateRejected, match="'reject'"):
        published(store, a_challenger(tmp_path, V1).decided(outcome="reject", passed=False))
    assert contents(store) == {}


def test_a_model_that_changed_after_it_was_judged_is_refused(tmp_path: Path) -> None:
    store, challenger = open_store(str(tmp_path / "root")), a_challenger(tmp_path, V1)
    (challenger.folder / onnx_name(V1)).write_bytes(b"another model")
    with pytest.raises(GateRejected, match=rf"{onnx_name(V1)}: is not the file that was judged"):
        published(store, challenger)
    assert contents(store) == {}


@pytest.mark.parametrize("content", [b"{}", b"no json"])
def test_a_decision_that_differs_from_the_one_in_the_work_area_is_refused(tmp_path: Path, content: bytes) -> None:
    store, challenger = open_store(str(tmp_path / "root")), a_challenger(tmp_path, V1)
    (challenger.folder / "decision.json").write_bytes(content)
    with pytest.raises(GateRejected, match="is not the decision that was handed over"):
        published(store, challenger)
    assert contents(store) == {}


@pytest.mark.parametrize("name", [onnx_name(V1), "profile.json", "decision.json"])
def test_a_version_with_a_file_missing_is_not_begun(tmp_path: Path, name: str) -> None:
    store, challenger = open_store(str(tmp_path / "root")), a_challenger(tmp_path, V1)
    (challenger.folder / name).unlink()
    with pytest.raises(ConfigError, match=f"without {name}"):
        published(store, challenger)
    assert contents(store) == {}


@pytest.mark.parametrize("version", ["", "v1", "latest", f"{V1}\n", "../etc", f"{V1}/x", "v2026１001_000000"])
def test_a_name_that_is_no_version_is_refused(tmp_path: Path, version: str) -> None:
    store, challenger = open_store(str(tmp_path / "root")), a_challenger(tmp_path, V1)
    with pytest.raises(ConfigError, match="is not a version"):
        published(store, replace(challenger, version=version))
    with pytest.raises(ConfigError, match="is not a version"):
        promote(store, version, promoted_by="me", now=NOW)


def test_a_decision_against_a_champion_that_no_longer_serves_is_refused(local_store: Store, tmp_path: Path) -> None:
    late = a_challenger(tmp_path, V3, champion=V1)
    published(local_store, a_challenger(tmp_path, V1))
    published(local_store, a_challenger(tmp_path, V2, champion=V1))
    before = contents(local_store)

    with pytest.raises(ConflictError, match=f"production is {V2}, but {V3} was compared with {V1}; compare again"):
        published(local_store, late)
    assert contents(local_store) == before


def test_a_bootstrap_is_refused_when_somebody_published_meanwhile(local_store: Store, tmp_path: Path) -> None:
    late = a_challenger(tmp_path, V2, champion=None)
    published(local_store, a_challenger(tmp_path, V1))
    with pytest.raises(ConflictError, match=f"production is {V1}, but {V2} was compared with no champion"):
        published(local_store, late)


def test_a_forced_bootstrap_replaces_the_champion_it_names(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    made = published(local_store, a_challenger(tmp_path, V2, champion=V1).decided(outcome="bootstrap"))
    assert (made.kind, made.version, made.previous) == ("bootstrap", V2, V1)


def test_the_swap_loses_to_a_rival_between_check_and_swap(store: Store, tmp_path: Path) -> None:
    published(store, a_challenger(tmp_path, V1))
    ours, theirs = a_challenger(tmp_path, V2, champion=V1), a_challenger(tmp_path, V3, champion=V1)

    raced = Interposed(
        store, before=once_at("production.json", lambda: _ignore(published(store, theirs, promoted_by="rival")))
    )
    with pytest.raises(ConflictError, match=f"{V3} was put into production by rival meanwhile, so {V2} was not"):
        published(raced, ours)
    assert [move.version for move in read_history(store)] == [V1, V3]


def test_of_publishers_at_the_same_time_exactly_one_wins(store: Store, tmp_path: Path) -> None:
    published(store, a_challenger(tmp_path, V1))
    challengers = [a_challenger(tmp_path, version, champion=V1) for version in (V2, V3)]
    lost: list[str] = []

    def run(challenger: Any) -> None:
        try:
            published(store, challenger)
        except ConflictError:
            lost.append(challenger.version)

    threads = [threading.Thread(target=run, args=(challenger,)) for challenger in challengers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) == 1
    winner = read_production(store)
    assert winner is not None
    assert {winner.version, *lost} == {V2, V3}
    assert [move.version for move in read_history(store)] == [V1, winner.version]


def test_a_reader_sees_the_old_model_or_the_new_one_whole(store: Store, tmp_path: Path) -> None:
    published(store, a_challenger(tmp_path, V1))
    models = {V1: (tmp_path / f"work-{V1}" / onnx_name(V1)).read_bytes()}
    second = a_challenger(tmp_path, V2, champion=V1)
    models[V2] = (second.folder / onnx_name(V2)).read_bytes()
    seen: list[str] = []

    def read(_number: int, _key: str) -> None:
        production = read_production(store)
        assert production is not None
        assert store.read(production.onnx_key)[0] == models[production.version]
        seen.append(production.version)

    published(Interposed(store, before=read, after=read), second)
    assert seen == [V1] * seen.count(V1) + [V2] * seen.count(V2)
    assert set(seen) == {V1, V2}


def _ignore(_value: object) -> None:
    """Make a call of any result one of none."""


def _lose_the_answer() -> None:
    raise UnknownOutcomeError("production.json: the answer was lost")


def test_a_swap_whose_answer_was_lost_is_found_to_have_landed(store: Store, tmp_path: Path) -> None:
    made = published(Interposed(store, after=once_at("production.json", _lose_the_answer)), a_challenger(tmp_path, V1))
    assert read_history(store) == [made]


def test_a_swap_that_may_still_land_stays_unknown_and_is_run_again(local_store: Store, tmp_path: Path) -> None:
    challenger = a_challenger(tmp_path, V1)
    with pytest.raises(UnknownOutcomeError):
        published(Interposed(local_store, before=once_at("production.json", _lose_the_answer)), challenger)
    assert read_production(local_store) is None
    assert published(local_store, challenger).sequence == 1


@pytest.mark.parametrize("landed", [True, False])
def test_a_lost_answer_is_settled_from_the_history_when_a_rival_came_next(
    local_store: Store, tmp_path: Path, landed: bool
) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    ours = a_challenger(tmp_path, V2, champion=V1)
    theirs = a_challenger(tmp_path, V3, champion=V2 if landed else V1)

    def rival_then_lose() -> None:
        published(local_store, theirs)
        if not landed:
            promote(local_store, V1, promoted_by="rival", now=NOW)
        _lose_the_answer()

    hook = once_at("production.json", rival_then_lose)
    raced = Interposed(local_store, after=hook) if landed else Interposed(local_store, before=hook)
    if landed:
        assert published(raced, ours).sequence == 2
        assert [move.version for move in read_history(local_store)] == [V1, V2, V3]
    else:
        with pytest.raises(ConflictError, match=f"so {V2} was not"):
            published(raced, ours)
        assert [move.version for move in read_history(local_store)] == [V1, V3, V1]


def test_an_older_month_does_not_move_production_back_unless_asked(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V2))
    backfill = a_challenger(tmp_path, V1, champion=V2)
    before = contents(local_store)

    with pytest.raises(GateRejected, match=f"{V1} was trained for 2026-09, but production serves {V2} of 2026-10"):
        published(local_store, backfill)
    assert contents(local_store) == before
    assert published(local_store, backfill, allow_older=True).version == V1


def test_another_model_under_a_published_version_is_refused(local_store: Store, tmp_path: Path) -> None:
    published(local_store, a_challenger(tmp_path, V1))
    before = contents(local_store)
    with pytest.raises(ConflictError, match=f"{V1} was already published with another model"):
        published(local_store, a_challenger(tmp_path, V1, salt="again"))
    assert contents(local_store) == before


def test_leftovers_of_another_run_under_the_same_version_are_not_overwritten(
    local_store: Store, tmp_path: Path
) -> None:
    with pytest.raises(Died):
        published(dies_at(3, landed=True, store=local_store), a_challenger(tmp_path, V1))
    before = contents(local_store)
    with pytest.raises(ConflictError, match="exists with other bytes"):
        published(local_store, a_challenger(tmp_path, V1, salt="again"))
    assert contents(local_store) == before
