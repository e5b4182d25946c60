"""Delete old versions: what may go, and in which order, so that nothing that serves or may serve is touched.

Nothing is deleted before the pointer's history says so (a move of kind "cleanup"): a promotion or a
publication that began earlier then loses its swap, and one that begins later is refused. A cleanup that died is
finished by the next one, before that adds names of its own; so the pointer need only carry the latest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bwpredict.errors import ConfigError
from bwpredict.registry.history import RecordName, complete_history, read_record, record_names, rollback_stack
from bwpredict.registry.layout import MANIFEST_NAME, is_version, model_key
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.promotion import record_cleanup
from bwpredict.store.base import Store

MINIMUM_AGE = timedelta(days=7)
"""What was written more recently stays: a publication may still be going on, or be about to be retried."""
_BATCH = 100
"""Versions in one record of the history."""


@dataclass(frozen=True)
class RetentionPolicy:
    """What stays: the `keep` newest versions, production, and the `predecessors` that rollbacks lead to (None: all).

    Whatever changed within `minimum_age` stays too.
    """

    keep: int
    predecessors: int | None = None
    minimum_age: timedelta = MINIMUM_AGE

    def __post_init__(self) -> None:
        """Raises ConfigError."""
        if self.keep < 0 or (self.predecessors or 0) < 0 or self.minimum_age < timedelta():
            raise ConfigError("what to keep (versions, predecessors, age) must not be negative.")


@dataclass(frozen=True)
class RetentionPlan:
    """What a cleanup deletes, oldest first: published `versions`, `leftovers` of uploads that were never finished,
    and what an earlier cleanup that died left over (`unfinished`).
    """

    versions: list[str]
    leftovers: list[str]
    unfinished: list[str]
    current: Production | None

    @property
    def doomed(self) -> list[str]:
        """What is deleted under a new record."""
        return sorted([*self.versions, *self.leftovers])


def plan_retention(store: Store, policy: RetentionPolicy, *, now: datetime) -> RetentionPlan:
    """What a cleanup would delete now; changes nothing.

    Where nothing is in production yet, nothing is deleted.

    Raises:
        ObjectCorruptError, DocumentError: as `record_names` and `read_record`; what cannot be trusted is not
            cleaned up.
    """
    current = read_production(store)
    if current is None:
        return RetentionPlan([], [], [], None)
    moves = record_names(store, current)
    condemned = _condemned(store, moves, current)
    files = _times_by_version(store)
    whole = sorted(version for version, found in files.items() if MANIFEST_NAME in found and version not in condemned)
    below = rollback_stack(moves)[:-1]
    stays = below if policy.predecessors is None else _last(below, policy.predecessors)
    tried = [current.candidate.version] if current.candidate else []
    safe = {current.version, *tried, *_last(whole, policy.keep), *stays}
    old = {version for version, found in files.items() if max(found.values()) <= now - policy.minimum_age}
    doomed = sorted(old - safe - condemned)
    return RetentionPlan(
        versions=[version for version in doomed if MANIFEST_NAME in files[version]],
        leftovers=[version for version in doomed if MANIFEST_NAME not in files[version]],
        unfinished=sorted((condemned & files.keys()) - {current.version}),
        current=current,
    )


def delete_old_versions(store: Store, policy: RetentionPolicy, *, made_by: str, now: datetime) -> RetentionPlan:
    """Delete what `plan_retention` names, and the temporary files of writers that died; returns what was deleted.

    Raises:
        ConflictError: production was moved meanwhile; what was recorded before that is deleted. Run again.
        StoreError: as the store; run again.
    """
    planned = plan_retention(store, policy, now=now)
    for version in planned.unfinished:
        _delete(store, version)
    current = complete_history(store, planned.current) if planned.current else None
    for start in range(0, len(planned.doomed), _BATCH):
        batch = planned.doomed[start : start + _BATCH]
        if current is not None:
            current = record_cleanup(store, current, batch, made_by=made_by, now=now)
            for version in batch:
                _delete(store, version)
    store.remove_unfinished(now - policy.minimum_age)
    return planned


def _condemned(store: Store, moves: Sequence[RecordName], current: Production) -> set[str]:
    """What earlier cleanups have deleted or were to delete."""
    cleanups = (read_record(store, made.key, current) for made in moves if made.kind == "cleanup")
    return {version for made in cleanups for version in made.deleted}


def _times_by_version(store: Store) -> dict[str, dict[str, datetime]]:
    """Last change of every file under `models/`, by version and name; anything else there is nobody's to delete."""
    files: dict[str, dict[str, datetime]] = defaultdict(dict)
    for key, changed in store.times("models/"):
        _, version, name = key.split("/", 2) if key.count("/") > 1 else ("", "", "")
        if is_version(version):
            files[version][name] = changed
    return files


def _delete(store: Store, version: str) -> None:
    """MANIFEST.json first: from then on the version is not published, however far this gets."""
    store.delete(model_key(version, MANIFEST_NAME))
    for key in list(store.keys(f"models/{version}/")):
        store.delete(key)


def _last(versions: Sequence[str], count: int) -> Sequence[str]:
    return versions[max(len(versions) - count, 0) :]
