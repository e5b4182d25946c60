"""Many publishers at the same time, for a long while: nothing is lost, and nobody wins twice."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from challengers import NOW, V1, a_challenger, published

from bwpredict.errors import ConflictError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import read_history, read_production
from bwpredict.store.factory import open_store

PUBLISHERS = 8


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_eight_publishers_lose_nothing(tmp_path: Path, rounds: int) -> None:
    """In each round all eight publish a version of their own against what they see in production, as processes."""
    published(open_store(str(tmp_path / "root")), a_challenger(tmp_path, V1))
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(PUBLISHERS), context.SimpleQueue()
    processes = [
        context.Process(target=_publish_rounds, args=(tmp_path, number, rounds, barrier, results))
        for number in range(PUBLISHERS)
    ]
    for process in processes:
        process.start()
    won = [version for _ in processes for version in results.get()]
    for process in processes:
        process.join()
        assert process.exitcode == 0

    store = open_store(str(tmp_path / "root"))
    history = read_history(store)
    assert Counter(made.version for made in history) == Counter([V1, *won])
    assert [made.sequence for made in history] == list(range(1, len(won) + 2))
    assert [made.replaced for made in history[1:]] == [made.version for made in history[:-1]]
    assert len(won) >= rounds
    assert audit_registry(store).problems == []


def _publish_rounds(folder: Path, number: int, rounds: int, barrier: object, results: object) -> None:
    os.nice(5)
    store, won = open_store(str(folder / "root")), []
    for round_ in range(rounds):
        barrier.wait()  # type: ignore[attr-defined]
        champion = read_production(store)
        assert champion is not None
        version = f"v20270101_{number:02d}{round_:04d}"
        challenger = a_challenger(folder / f"publisher-{number}", version, champion=champion.version)
        with suppress(ConflictError):
            won.append(published(store, challenger, promoted_by=f"publisher {number}", now=NOW).version)
    results.put(won)  # type: ignore[attr-defined]
