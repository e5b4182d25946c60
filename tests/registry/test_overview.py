from datetime import datetime

import pytest
from published_versions import published_month, published_months

from bwpredict.errors import ObjectMissingError
from bwpredict.registry.history import champion_of_month, read_history
from bwpredict.registry.promotion import rollback
from bwpredict.registry_views.overview import announcement, overview, version_documents
from bwpredict.registry_views.version_diff import differences, judged_together
from bwpredict.store.factory import open_store


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """A registry of four months that no test changes."""
    folder = tmp_path_factory.mktemp("months")
    moves = published_months(str(folder / "registry"), folder / "work", 4)
    return open_store(str(folder / "registry")), moves


def test_an_empty_registry_has_an_empty_overview(tmp_path):
    seen = overview(open_store(str(tmp_path)))
    assert (seen.production, seen.moves, seen.count, seen.versions, seen.older) == (None, [], 0, [], None)


def test_the_newest_versions_come_first_with_their_verdict_and_figures(months):
    store, moves = months
    seen = overview(store)
    assert [row.version for row in seen.versions] == [made.version for made in reversed(moves)]
    assert seen.production == moves[-1]
    assert [made.sequence for made in seen.moves] == [4, 3, 2, 1]
    newest, oldest = seen.versions[0], seen.versions[-1]
    assert (newest.outcome, newest.champion_version, newest.month) == ("promote", moves[2].version, "2026-10")
    assert (oldest.outcome, oldest.champion_version) == ("bootstrap", None)
    assert 0 < newest.skill["rtt_ms"] < oldest.skill["rtt_ms"] < 1
    assert newest.problem is None


def test_the_pages_of_an_overview_hold_every_version_once(months):
    store, moves = months
    shown, below = [], None
    while True:
        seen = overview(store, below=below, limit=3)
        shown += [row.version for row in seen.versions]
        below = seen.older
        if below is None:
            break
    assert shown == [made.version for made in reversed(moves)]
    assert seen.count == len(moves)


def test_a_version_that_cannot_be_read_is_named_and_hides_no_other(tmp_path):
    first, second = published_months(str(tmp_path / "registry"), tmp_path, 2)
    (tmp_path / "registry" / "models" / first.version / "decision.json").write_text("{")
    (tmp_path / "registry" / "models" / "other").mkdir()
    (tmp_path / "registry" / "models" / "other" / "MANIFEST.json").write_text("{}")
    rows = {row.version: row for row in overview(open_store(str(tmp_path / "registry"))).versions}
    assert rows[second.version].problem is None
    assert "decision.json: the bytes do not match MANIFEST.json" in rows[first.version].problem
    assert "is not a version name" in rows["other"].problem


def test_a_version_that_is_being_uploaded_is_not_shown_yet(tmp_path):
    first, second = published_months(str(tmp_path / "registry"), tmp_path, 2)
    (tmp_path / "registry" / "models" / second.version / "MANIFEST.json").unlink()
    seen = overview(open_store(str(tmp_path / "registry")))
    assert ([row.version for row in seen.versions], seen.count) == ([first.version], 1)


def test_two_versions_differ_in_what_their_documents_say_and_a_version_not_from_itself(months):
    store, moves = months
    first, last = (version_documents(store, made.version) for made in (moves[0], moves[-1]))
    assert differences(first, first) == []
    found = {row.name: (row.left, row.right) for row in differences(first, last)}
    assert found["champion version"] == ("nothing", moves[2].version)
    assert found["outcome"] == ("bootstrap", "promote")
    assert not [name for name in found if "performance" in name or name == "features"]
    assert not [text for pair in found.values() for text in pair if text.startswith(("{", "["))]


def test_two_versions_are_compared_on_test_days_that_both_were_run_on(months):
    store, moves = months
    first, second, third, _ = (version_documents(store, made.version) for made in moves)
    assert judged_together(first, second) is second
    assert judged_together(second, first) is second
    assert judged_together(first, third) is None
    assert judged_together(first, first) is None


def test_the_documents_of_a_version_that_is_not_there_are_an_error(months):
    with pytest.raises(ObjectMissingError, match="is not published"):
        version_documents(months[0], "v20200101_000000")


def test_an_announcement_has_the_version_and_how_good_it_is(months):
    store, moves = months
    told = announcement(store, moves[-1])
    assert (told["version"], told["replaced"]) == (moves[-1].version, moves[2].version)
    assert told["metrics"]["average_correlation"] == overview(store).versions[0].average_correlation


def test_a_past_month_had_to_beat_what_served_before_it_and_nothing_later(months):
    moves = months[1]
    assert [champion_of_month(moves, month) for month in ("2026-07", "2026-09", "2027-01")] == [
        *(None, moves[1].version, moves[3].version),
    ]


def test_a_version_that_was_rolled_back_is_no_champion_of_a_past_month(tmp_path):
    moves = published_months(str(tmp_path / "registry"), tmp_path, 2)
    store = open_store(str(tmp_path / "registry"))
    rollback(store, promoted_by="test", now=datetime.fromisoformat(moves[-1].promoted_at))
    published_month(store, tmp_path, 2, champion=moves[0].version)
    assert champion_of_month(read_history(store), "2026-09") == moves[0].version
