"""The production pointer, its history, and the two moves a person makes: promote and roll back.

`production.json` *is* the record of its own latest move: version, kind, sequence number, what it
replaced, who, when and on which decision. It moves by compare-and-swap, so sequence number n belongs to
exactly one move. History never lacks a move, although a process may die between any two writes:

1. Before a mover swaps the pointer from n to n + 1 it makes sure that `history/n…` holds the same
   bytes as the pointer (a create-only write; the same bytes there already are fine).
2. After the swap it writes `history/n+1…` in the same way. If it dies before that, the pointer itself still
   holds the record, and rule 1 makes the next mover write it; `read_history` adds it meanwhile.

So every record but the last is always in `history/`, and the last is there or in the pointer. This also
settles a swap whose answer was lost: either the pointer still holds our bytes, or somebody moved on and by rule 1
has written `history/n+1…`, which says whose move n + 1 was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from bwpredict.errors import ConfigError, ConflictError, ObjectMissingError, UnknownOutcomeError
from bwpredict.registry.history import complete_history, read_history, read_record, require_not_reverted, rollback_stack
from bwpredict.registry.layout import DECISION_NAME, PRODUCTION_KEY, model_key, onnx_name, record_prefix
from bwpredict.registry.pointer import Kind, Production, encode, read_production
from bwpredict.registry.versions import Manifest, verify_version
from bwpredict.store.base import Store


def promote(
    store: Store,
    version: str,
    *,
    promoted_by: str,
    now: datetime,
    expected_version: str | None = None,
    reason: str | None = None,
) -> Production:
    """Point production at a version that is published already; every file is verified first.

    If it is in production already, nothing moves. `expected_version`, if given, is the version that
    the caller believes in production.

    Raises:
        ConfigError: `version` is not a version name.
        ObjectMissingError: no such version.
        ObjectCorruptError: a file of the version is gone or has other bytes.
        ConflictError: production is not `expected_version`, or somebody moved it meanwhile.
    """
    current = read_production(store)
    require_expected(store, current, expected_version)
    if current and current.version == version:
        return complete_history(store, current)
    require_not_deleted(store, current, version)
    manifest = verify_version(store, version)
    previous = current.version if current else None
    return move_pointer(
        store, manifest, current, kind="promotion", previous=previous, promoted_by=promoted_by, now=now, reason=reason
    )


def rollback(
    store: Store, *, promoted_by: str, now: datetime, expected_version: str | None = None, reason: str | None = None
) -> Production:
    """Point production at the version that served before the present one was promoted.

    Asked again with the same `expected_version` after it was done, it only completes the history: a retry
    goes back once.

    Raises:
        ConfigError: there is nothing to go back to.
        ObjectCorruptError: a file of that version, or a record of the history, is gone or was altered.
        ConflictError: as `promote`.
    """
    current = read_production(store)
    if current and current.kind == "rollback" and current.replaced == expected_version:
        return complete_history(store, current)
    require_expected(store, current, expected_version)
    if current is None:
        raise ConfigError(f"{store.uri}: nothing is in production, so there is nothing to roll back.")
    if current.previous is None:
        raise ConfigError(f"{store.uri}: {current.version} is the first version in production; none came before it.")
    require_not_deleted(store, current, current.previous)
    manifest = verify_version(store, current.previous)
    stack = rollback_stack(read_history(store))
    previous = stack[-3] if len(stack) > 2 else None
    return move_pointer(
        store, manifest, current, kind="rollback", previous=previous, promoted_by=promoted_by, now=now, reason=reason
    )


def move_pointer(
    store: Store,
    manifest: Manifest,
    current: Production | None,
    *,
    kind: Kind,
    previous: str | None,
    promoted_by: str,
    now: datetime,
    reason: str | None,
) -> Production:
    """Swap the pointer from `current` (as read) to a published version, and complete the history.

    Raises:
        ConflictError: the pointer is no longer `current`.
        UnknownOutcomeError: the answer was lost and the pointer does not settle it; run again.
    """
    version = manifest.version
    moved = Production(
        sequence=current.sequence + 1 if current else 1,
        kind=kind,
        version=version,
        month=manifest.month,
        onnx_key=model_key(version, onnx_name(version)),
        sha256=manifest.sha256[onnx_name(version)],
        previous=previous,
        replaced=current.version if current else None,
        promoted_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        promoted_by=promoted_by,
        reason=reason,
        decision={"key": model_key(version, DECISION_NAME), "sha256": manifest.sha256[DECISION_NAME]},
        cleanup=current.cleanup if current else None,
    )
    return swap_pointer(store, current, moved)


def record_cleanup(
    store: Store, current: Production, deleted: Sequence[str], *, made_by: str, now: datetime
) -> Production:
    """Record, before anything is deleted, which versions go; what serves stays.

    The record moves the pointer like any other, so a promotion that began before it loses its swap,
    and one that begins after it finds the version among the deleted ones.

    Raises:
        ConflictError: the pointer is no longer `current`.
        UnknownOutcomeError: as `move_pointer`.
    """
    at = now.astimezone(UTC).isoformat(timespec="seconds")
    cleanup = {"at": at, "by": made_by, "deleted": list(deleted)}
    canary = current.canary if current.candidate else None
    return swap_pointer(store, current, current.followed_by("cleanup", reason=None, cleanup=cleanup, canary=canary))


def require_not_deleted(store: Store, made: Production | None, version: str) -> None:
    """Refuse a version that the latest cleanup before `made` deletes. Raises ObjectMissingError."""
    if made and made.cleanup and version in made.deleted:
        raise ObjectMissingError(
            f"{store.uri}: {version} was deleted on {made.cleanup['at']} by {made.cleanup['by']}; "
            "promote a version that is there, or publish under a new name."
        )


def swap_pointer(store: Store, current: Production | None, moved: Production) -> Production:
    """Move the pointer from `current` (as read) to `moved`, and complete the history before and after.

    Raises:
        ConflictError: the pointer is no longer `current`.
        ObjectCorruptError: the history continues beyond `current`, so the pointer was put back.
        UnknownOutcomeError: the answer was lost and the pointer does not settle it; run again.
    """
    if current:
        complete_history(store, current)
    if any(store.keys(record_prefix(moved.sequence))):
        require_not_reverted(store, current, moved.sequence)
    _compare_and_swap(store, moved, current.etag if current else None)
    return complete_history(store, moved)


def _compare_and_swap(store: Store, moved: Production, if_etag: str | None) -> None:
    """Compare-and-swap the pointer; settle a lost answer by looking for our own move."""
    try:
        store.write(PRODUCTION_KEY, encode(moved), if_etag=if_etag)
    except (ConflictError, UnknownOutcomeError) as error:
        now_there = read_production(store)
        if now_there is None or now_there.sequence < moved.sequence:
            raise
        made = now_there if now_there.sequence == moved.sequence else _read_record(store, moved)
        if made != moved:
            raise _overtaken(store, now_there, moved) from error


def _overtaken(store: Store, rival: Production, moved: Production) -> ConflictError:
    if {"cleanup", "canary"} & {rival.kind, moved.kind}:
        return ConflictError(
            f"{store.uri}: production was moved by {rival.made_by} meanwhile, "
            f"so the {moved.kind} was not made; run again."
        )
    return ConflictError(
        f"{store.uri}: {rival.version} was put into production by {rival.promoted_by} meanwhile, "
        f"so {moved.version} was not; compare with it and decide again."
    )


def _read_record(store: Store, moved: Production) -> Production | None:
    try:
        return read_record(store, moved.record_key)
    except ObjectMissingError:
        return None


def require_expected(store: Store, current: Production | None, expected_version: str | None) -> None:
    """Refuse where another version serves than the caller believes; None believes nothing. Raises ConflictError."""
    if expected_version is not None and (current is None or current.version != expected_version):
        found = current.version if current else "nothing"
        raise ConflictError(
            f"{store.uri}: {found} is in production, not {expected_version}; check what it is, and decide again."
        )
