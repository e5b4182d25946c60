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

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from bwpredict.documents import decode_document, encode_document
from bwpredict.errors import ConfigError, ConflictError, ObjectCorruptError, ObjectMissingError, UnknownOutcomeError
from bwpredict.registry.layout import DECISION_NAME, PRODUCTION_KEY, model_key, onnx_name, record_key
from bwpredict.registry.versions import Manifest, verify_version
from bwpredict.store import Store

Kind = Literal["bootstrap", "promotion", "rollback"]


@dataclass(frozen=True)
class Production:
    """One move of the production pointer; the latest one is what serves.

    `previous` is the version a rollback would return to, `replaced` the one that served just before.
    They differ after a rollback: v1, v2, v3, back to v2 has replaced v3, and a further rollback goes to v1.
    """

    sequence: int
    kind: Kind
    version: str
    month: str
    onnx_key: str
    sha256: str
    previous: str | None
    replaced: str | None
    promoted_at: str
    promoted_by: str
    reason: str | None
    decision: dict[str, str]
    etag: str = field(compare=False, default="")
    """ETag of `production.json` when this was read; empty for a record of the history."""

    @property
    def record_key(self) -> str:
        """Key of this move's record in the history."""
        return record_key(self.sequence, self.version, self.kind)

    @property
    def document(self) -> dict[str, Any]:
        """This move as it stands in `production.json` and in the history."""
        values = asdict(self)
        del values["etag"]
        return values


def read_production(store: Store) -> Production | None:
    """What is in production; None if nothing has been published yet.

    Raises:
        DocumentError: `production.json` is not a valid document.
    """
    try:
        content, etag = store.read(PRODUCTION_KEY)
    except ObjectMissingError:
        return None
    return _decode(store, PRODUCTION_KEY, content, etag)


def read_history(store: Store) -> list[Production]:
    """All moves of the pointer, oldest first, complete even if the last one's record is not written yet.

    Raises:
        ObjectCorruptError: a record is gone or was altered; the product never does either.
        DocumentError: a record is not a valid document.
    """
    production = read_production(store)
    moves = {info.key: _decode(store, info.key, store.read(info.key)[0]) for info in store.list("history/")}
    if production and moves.setdefault(production.record_key, production) != production:
        raise _altered(store, production.sequence)
    history = [moves[key] for key in sorted(moves)]
    for sequence, (key, made) in enumerate(zip(sorted(moves), history, strict=True), start=1):
        if key != made.record_key or made.sequence != sequence:
            raise _altered(store, sequence)
    return history


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
        ConfigError: `version` is no version name.
        ObjectMissingError: no such version.
        ObjectCorruptError: a file of the version is gone or has other bytes.
        ConflictError: production is not `expected_version`, or somebody moved it meanwhile.
    """
    current = _read_expected(store, expected_version)
    if current and current.version == version:
        return complete_history(store, current)
    manifest = verify_version(store, version)
    previous = current.version if current else None
    return move(
        store, manifest, current, kind="promotion", previous=previous, promoted_by=promoted_by, now=now, reason=reason
    )


def rollback(
    store: Store, *, promoted_by: str, now: datetime, expected_version: str | None = None, reason: str | None = None
) -> Production:
    """Point production at the version that served before the present one was promoted.

    Raises:
        ConfigError: there is nothing to go back to.
        ObjectCorruptError: a file of that version, or a record of the history, is gone or was altered.
        ConflictError: as `promote`.
    """
    current = _read_expected(store, expected_version)
    if current is None:
        raise ConfigError(f"{store.uri}: nothing is in production, so there is nothing to roll back.")
    if current.previous is None:
        raise ConfigError(f"{store.uri}: {current.version} is the first version in production; none came before it.")
    manifest = verify_version(store, current.previous)
    previous = _version_below(read_history(store), depth=2)
    return move(
        store, manifest, current, kind="rollback", previous=previous, promoted_by=promoted_by, now=now, reason=reason
    )


def move(
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
        UnknownOutcomeError: the answer was lost and the pointer does not tell either; run again.
    """
    if current:
        complete_history(store, current)
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
    )
    _swap(store, moved, current.etag if current else None)
    return complete_history(store, moved)


def complete_history(store: Store, production: Production) -> Production:
    """Write the record of the pointer's latest move if it is not there yet; returns `production`.

    Raises:
        ObjectCorruptError: a different record is there.
    """
    content = _encode(production)
    try:
        store.write(production.record_key, content, if_etag=None)
    except ConflictError as error:
        if store.read(production.record_key)[0] != content:
            raise _altered(store, production.sequence) from error
    return production


def _swap(store: Store, moved: Production, if_etag: str | None) -> None:
    """Compare-and-swap the pointer; settle a lost answer by looking for our own move."""
    try:
        store.write(PRODUCTION_KEY, _encode(moved), if_etag=if_etag)
    except (ConflictError, UnknownOutcomeError) as error:
        now_there = read_production(store)
        if now_there is None or now_there.sequence < moved.sequence:
            raise
        made = now_there if now_there.sequence == moved.sequence else _read_record(store, moved)
        if made != moved:
            raise ConflictError(
                f"{store.uri}: {now_there.version} was put into production by {now_there.promoted_by} meanwhile, "
                f"so {moved.version} was not; compare with it and decide again."
            ) from error


def _read_record(store: Store, moved: Production) -> Production | None:
    try:
        return _decode(store, moved.record_key, store.read(moved.record_key)[0])
    except ObjectMissingError:
        return None


def _read_expected(store: Store, expected_version: str | None) -> Production | None:
    current = read_production(store)
    if expected_version is not None and (current is None or current.version != expected_version):
        found = current.version if current else "nothing"
        raise ConflictError(f"{store.uri}: {found} is in production, not {expected_version}; look again and decide.")
    return current


def _version_below(history: list[Production], depth: int) -> str | None:
    """The version that `depth` rollbacks from now would lead to: promotions push, rollbacks pop."""
    stack: list[str] = []
    for made in history:
        stack = stack[:-1] if made.kind == "rollback" else [*stack, made.version]
    return stack[-1 - depth] if len(stack) > depth else None


def _altered(store: Store, sequence: int) -> ObjectCorruptError:
    return ObjectCorruptError(
        f"{store.uri}/history: the record of move {sequence} is gone or was altered; restore it "
        "(to promote a published version by its name, only the record of the latest move is needed)."
    )


def _encode(production: Production) -> bytes:
    return encode_document("production", production.document, name=PRODUCTION_KEY)


def _decode(store: Store, key: str, content: bytes, etag: str = "") -> Production:
    return Production(**decode_document("production", content, name=f"{store.uri}/{key}"), etag=etag)
