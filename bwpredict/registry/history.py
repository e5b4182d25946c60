"""The history of the production pointer: one immutable record for each move, in the order of their numbers.

The order is that of the sequence numbers, never that of the times, so a clock that steps back changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bwpredict.errors import ConflictError, ObjectCorruptError
from bwpredict.registry.pointer import Production, decode, encode, read_production
from bwpredict.store.base import Store

_RECORD = re.compile(r"history/(?P<sequence>[0-9]{8,})_(?P<version>v[0-9]{8}_[0-9]{6})_(?P<kind>[a-z]+)\.json")


@dataclass(frozen=True)
class RecordName:
    """What the key of a record tells without reading it."""

    sequence: int
    version: str
    kind: str
    key: str


def read_history(store: Store) -> list[Production]:
    """All moves of the pointer, oldest first, complete even if the last one's record is not written yet.

    Raises:
        ObjectCorruptError: a record is gone or was altered, or the pointer is older than the history; the
            product never does any of these.
        DocumentError: a record is not a valid document.
    """
    production = read_production(store)
    moves = {key: decode(store, key, store.read(key)[0]) for key in store.keys("history/")}
    if production and moves.setdefault(production.record_key, production) != production:
        raise altered_record_error(store, production.sequence)
    history = [moves[key] for key in sorted(moves)]
    for sequence, (key, made) in enumerate(zip(sorted(moves), history, strict=True), start=1):
        if key != made.record_key or made.sequence != sequence:
            raise altered_record_error(store, sequence)
    require_not_reverted(store, production, len(history))
    return history


def record_names(store: Store, production: Production | None) -> list[RecordName]:
    """The names of all records up to `production` (as read just before), in order: one listing, nothing read.

    Raises:
        ObjectCorruptError: a record is missing, another file is among them, or the pointer was reset.
    """
    keys = set(store.keys("history/"))
    if production:
        keys.add(production.record_key)
    names = [_parsed(store, key) for key in sorted(keys)]
    for sequence, name in enumerate(names, start=1):
        if name.sequence != sequence:
            raise altered_record_error(store, sequence)
    require_not_reverted(store, production, len(names))
    return names


def read_record(store: Store, key: str, production: Production | None = None) -> Production:
    """One record; that of `production` may not be written yet. Raises ObjectMissingError, and as `decode`."""
    if production and production.record_key == key:
        return production
    return decode(store, key, store.read(key)[0])


def complete_history(store: Store, production: Production) -> Production:
    """Write the record of the pointer's latest move if it is not there yet; returns `production`.

    Raises:
        ObjectCorruptError: a different record is there.
    """
    key = production.record_key
    try:
        store.write(key, encode(production), if_etag=None)
    except ConflictError as error:
        if read_record(store, key) != production:
            raise altered_record_error(store, production.sequence) from error
    return production


def rollback_stack(history: Sequence[Production | RecordName]) -> list[str]:
    """The versions that rollbacks lead through, what serves last: promotions push, rollbacks pop."""
    stack: list[str] = []
    for made in history:
        if made.kind == "rollback":
            del stack[-1:]
        elif made.kind not in ("cleanup", "canary"):
            stack.append(made.version)
    return stack


def champion_of_month(history: list[Production], month: str) -> str | None:
    """What a model of a past `month` has to beat: of the versions that served, the latest of an earlier month.

    Versions that were rolled back, and those that a cleanup deleted, do not count.
    """
    deleted = {version for made in history for version in made.deleted}
    months = {made.version: made.month for made in history}
    served = [(months[version], version) for version in rollback_stack(history) if version not in deleted]
    return max((pair for pair in served if pair[0] < month), default=(month, None))[1]


def earlier_champions(history: Sequence[Production], version: str, most: int) -> list[str]:
    """At most this many versions that served before `version` did, the latest last.

    Versions that were rolled back, and those that a cleanup deleted, do not count.
    """
    deleted = {name for made in history for name in made.deleted}
    stack = rollback_stack(history)
    before = stack[: stack.index(version)] if version in stack else stack
    served = dict.fromkeys(name for name in reversed(before) if name not in deleted and name != version)
    return list(reversed(list(served)[:most]))


def require_not_reverted(store: Store, production: Production | None, recorded: int) -> None:
    """Refuse a pointer that lags behind a recorded move; one that was only moved meanwhile has caught up by now.

    Raises ObjectCorruptError.
    """
    sequence = production.sequence if production else 0
    if sequence < recorded:
        production = read_production(store)
        if production is None or production.sequence < recorded:
            raise ObjectCorruptError(
                f"{store.uri}/production.json: is move {sequence}, but the history continues to move {recorded}; "
                "restore it from the last record."
            )


def altered_record_error(store: Store, sequence: int) -> ObjectCorruptError:
    """The error that names a move whose record cannot be trusted."""
    return ObjectCorruptError(
        f"{store.uri}/history: the record of move {sequence} is gone or was altered; restore it "
        "(to promote a published version by its name, only the record of the latest move is needed)."
    )


def _parsed(store: Store, key: str) -> RecordName:
    match = _RECORD.fullmatch(key)
    if not match:
        raise ObjectCorruptError(f"{store.uri}/{key}: is not a record of a move; the product never writes such a file.")
    return RecordName(int(match["sequence"]), match["version"], match["kind"], key)
