"""Work areas of small challengers, ready to publish, and stores that fail in the middle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bwpredict.registry.layout import onnx_name, required_files
from bwpredict.registry.promotion import Production
from bwpredict.registry.publish import publish
from bwpredict.store.base import Store
from bwpredict.store.files import sha256_of

V1, V2, V3 = "v20261001_000000", "v20261101_000000", "v20261201_000000"
MONTHS = {V1: "2026-09", V2: "2026-10", V3: "2026-11"}
NOW = datetime(2026, 12, 24, 18, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Challenger:
    """A version in its work area, with the decision about it."""

    folder: Path
    version: str
    decision: dict[str, Any]

    def decided(self, **changes: Any) -> Challenger:
        """The same with another decision, written to the work area too. A value of ... drops the key."""
        decision = {key: value for key, value in {**self.decision, **changes}.items() if value is not ...}
        (self.folder / "decision.json").write_text(json.dumps(decision))
        return replace(self, decision=decision)


def a_challenger(folder: Path, version: str, *, champion: str | None = None, salt: str = "") -> Challenger:
    """A challenger that the gate lets through against `champion`."""
    folder = folder / f"work-{version}{salt}"
    folder.mkdir(parents=True)
    for name in (*required_files(version), "parity.json"):
        (folder / name).write_bytes(f"{name} of {version} {salt}".encode() * 20)
    decision = {
        "version": version,
        "month": MONTHS.get(version, MONTHS[V3]),
        "outcome": "promote" if champion else "bootstrap",
        "passed": True,
        "champion_version": champion,
        "challenger_sha256": sha256_of(folder / onnx_name(version)),
    }
    return Challenger(folder, version, decision).decided()


def published(store: Store, challenger: Challenger, **options: Any) -> Production:
    """Publish the challenger as a run would."""
    return publish(
        store,
        challenger.folder,
        challenger.version,
        challenger.decision,
        **{"month": challenger.decision["month"], "promoted_by": "run 1", "now": NOW, **options},
    )


def three_published(store: Store, folder: Path) -> None:
    """V1, V2 and V3, published one after the other, an hour apart."""
    for hours, (version, champion) in enumerate([(V1, None), (V2, V1), (V3, V2)]):
        published(store, a_challenger(folder, version, champion=champion), now=NOW + timedelta(hours=hours))


def contents(store: Store) -> dict[str, bytes]:
    """Everything in the store, by key."""
    return {info.key: store.read(info.key)[0] for info in store.list()}


class Interposed:
    """A store that calls `before` and `after` around each write and upload, with its number from 0 and its key."""

    def __init__(
        self,
        store: Store,
        *,
        before: Callable[[int, str], None] = lambda _number, _key: None,
        after: Callable[[int, str], None] = lambda _number, _key: None,
    ) -> None:
        self.store, self.before, self.after = store, before, after
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def upload(self, path: Path, key: str) -> str:
        return self._around(key, lambda: self.store.upload(path, key))

    def write(self, key: str, content: bytes, *, if_etag: str | None) -> str:
        return self._around(key, lambda: self.store.write(key, content, if_etag=if_etag))

    def _around(self, key: str, write: Callable[[], str]) -> str:
        number = len(self.written)
        self.written.append(key)
        self.before(number, key)
        try:
            return write()
        finally:
            self.after(number, key)


class Died(BaseException):
    """The process was killed here."""


def dies_at(number: int, *, landed: bool, store: Store) -> Any:
    """A store whose user is killed at its write `number`, just before it or just after."""

    def kill(current: int, _key: str) -> None:
        if current == number:
            raise Died

    return Interposed(store, after=kill) if landed else Interposed(store, before=kill)


def once_at(wanted: str, action: Callable[[], None]) -> Callable[[int, str], None]:
    """A hook that acts at the first write of the key `wanted` only."""
    pending = [action]

    def hook(_number: int, key: str) -> None:
        if key == wanted and pending:
            pending.pop()()

    return hook
