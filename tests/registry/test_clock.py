"""A clock that steps back changes no order: the history counts, it does not look at the time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from challengers import NOW, V1, V2, V3, a_challenger, published

from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.store.base import Store


def test_moves_made_while_the_clock_steps_back_stay_in_the_order_in_which_they_were_made(
    store: Store, tmp_path: Path
) -> None:
    for days, (version, champion) in enumerate([(V1, None), (V2, V1), (V3, V2)]):
        published(store, a_challenger(tmp_path, version, champion=champion), now=NOW - timedelta(days=100 * days))
    rollback(store, promoted_by="me", now=NOW - timedelta(days=900))
    promote(store, V3, promoted_by="me", now=NOW - timedelta(days=5000))

    history = read_history(store)
    assert [made.version for made in history] == [V1, V2, V3, V2, V3]
    assert [made.sequence for made in history] == [1, 2, 3, 4, 5]
    assert sorted(made.promoted_at for made in history) == [made.promoted_at for made in history[::-1]]
    assert read_production(store) == history[-1]
    assert rollback(store, promoted_by="me", now=NOW).version == V2
    assert audit_registry(store).problems == []


def test_a_version_whose_name_is_older_than_that_of_production_may_follow_it(
    local_store: Store, tmp_path: Path
) -> None:
    """Its month decides whether production goes back in time, not the clock of the machine that named it."""
    published(local_store, a_challenger(tmp_path, V2))
    challenger = a_challenger(tmp_path, "v20200101_000000", champion=V2)
    assert published(local_store, challenger).sequence == 2
