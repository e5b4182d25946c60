"""The registry beside a model of a few lines: random operations, kills, lost answers and rivals; always the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from challengers import NOW, Died, Interposed, a_challenger, contents, published
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bwpredict.errors import BwPredictError, UnknownOutcomeError
from bwpredict.registry.audit import audit_registry
from bwpredict.registry.promotion import promote, read_history, read_production, rollback
from bwpredict.registry.retention import RetentionPolicy, delete_old_versions
from bwpredict.registry.versions import list_versions
from bwpredict.store.factory import open_store

FAULTS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 18), st.sampled_from(["killed before", "killed after", "lost before", "lost after"])),
)
"""At which write something goes wrong, and what."""


class RegistryBesideAModel(RuleBasedStateMachine):
    """The model: `stack` of what rollbacks lead through, `moves` made, `whole` versions that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = open_store(str(self.folder / "root"))
        self.stack: list[str] = []
        self.moves: list[tuple[str, str]] = []
        self.whole: set[str] = set()
        self.gone: set[str] = set()
        self.made = 0
        self.clock = NOW

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(fault=FAULTS, retried=st.booleans())
    def publish(self, fault: Any, retried: bool) -> None:
        version = f"v20270101_{self.made:06d}"
        self.made += 1
        challenger = a_challenger(self.folder, version, champion=self.stack[-1] if self.stack else None)
        kind = "promotion" if self.stack else "bootstrap"
        self.attempt(fault, lambda store: published(store, challenger, now=self.clock), kind, version, retried)

    @rule(fault=FAULTS, which=st.integers(0, 20), retried=st.booleans())
    def promote(self, fault: Any, which: int, retried: bool) -> None:
        known = sorted(self.whole)
        if known and known[which % len(known)] != (self.stack or [""])[-1]:
            version = known[which % len(known)]
            self.attempt(
                fault,
                lambda store: promote(store, version, promoted_by="me", now=self.clock),
                "promotion", version, retried,
            )  # fmt: skip

    @rule(fault=FAULTS, retried=st.booleans())
    def roll_back(self, fault: Any, retried: bool) -> None:
        if len(self.stack) > 1:
            serving, below = self.stack[-1], self.stack[-2]
            self.attempt(
                fault,
                lambda store: rollback(store, promoted_by="me", now=self.clock, expected_version=serving),
                "rollback", below, retried,
            )  # fmt: skip

    @rule(keep=st.integers(0, 2))
    def clean_up(self, keep: int) -> None:
        """Without a fault: those are in `test_killed` and `test_cleanup`."""
        later = self.clock + timedelta(days=36_500)
        deleted = delete_old_versions(self.store, RetentionPolicy(keep), made_by="me", now=later).doomed
        newest = sorted(self.whole)[max(len(self.whole) - keep, 0) :]
        if self.stack:
            assert set(deleted) >= self.whole - {*self.stack, *newest}
            assert not set(deleted) & {*self.stack, *newest}
        self.whole -= set(deleted)
        self.gone |= set(deleted)
        self.moves += [("cleanup", self.stack[-1])] if deleted else []

    @rule(version=st.integers(0, 20))
    def publish_again(self, version: int) -> None:
        """The retry of a finished run, or one that was cleaned up, moves nothing."""
        name = f"v20270101_{version:06d}"
        if name in self.gone or name in {promoted for _, promoted in self.moves}:
            folder = self.folder / "again"
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(BwPredictError):
                published(self.store, a_challenger(folder, name, champion=self.stack[-1]))

    @rule(hours=st.integers(-1000, 1000))
    def the_clock_steps(self, hours: int) -> None:
        self.clock += timedelta(hours=hours)

    def attempt(self, fault: Any, act: Callable[[Any], object], kind: str, version: str, retried: bool) -> None:
        """Do it under the fault, again if asked; the model then learns from the pointer whether it moved."""
        before = len(self.moves)
        with suppress(Died, UnknownOutcomeError):
            act(_faulty(self.store, fault))
        if retried:
            act(self.store)
        self.whole = set(list_versions(self.store))
        production = read_production(self.store)
        if production and production.sequence > before:
            assert (production.sequence, production.kind, production.version) == (before + 1, kind, version)
            self.moves.append((kind, version))
            self.stack = self.stack[:-1] if kind == "rollback" else [*self.stack, version]
        else:
            assert not retried
            assert fault

    @invariant()
    def the_registry_agrees_with_the_model(self) -> None:
        production = read_production(self.store)
        assert (production.version if production else None) == (self.stack[-1] if self.stack else None)
        assert (production.previous if production else None) == (self.stack[-2] if len(self.stack) > 1 else None)
        assert [(made.kind, made.version) for made in read_history(self.store)] == self.moves
        assert set(list_versions(self.store)) == self.whole
        assert audit_registry(self.store).problems == []
        assert not any(key.split("/")[1] in self.gone for key in contents(self.store) if key.startswith("models/"))


def _faulty(store: Any, fault: Any) -> Any:
    number, what = fault or (-1, "")

    def fail(current: int, _key: str) -> None:
        if current == number:
            raise Died if what.startswith("killed") else UnknownOutcomeError("the answer was lost")

    return Interposed(store, after=fail) if what.endswith("after") else Interposed(store, before=fail)


class TestRegistryBesideAModel(RegistryBesideAModel.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


@pytest.mark.slow
class TestRegistryBesideAModelForLonger(RegistryBesideAModel.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
