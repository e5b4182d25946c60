"""`production.json` as a document: what serves, and at once the record of the pointer's latest move."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from bwpredict.errors import ObjectCorruptError, ObjectMissingError
from bwpredict.registry.layout import DECISION_NAME, PRODUCTION_KEY, model_key, onnx_name, record_key
from bwpredict.registry.manifest import delete_manifest, write_manifest
from bwpredict.store.base import Store

Kind = Literal["bootstrap", "promotion", "rollback", "cleanup", "canary"]


@dataclass(frozen=True)
class Candidate:
    """A canary: it serves a share of the links beside production (`registry.canary_assignment`)."""

    version: str
    share: float
    """Above 0, at most 1."""
    onnx_key: str
    sha256: str
    since: str
    """When it began to serve, with whatever share; ISO 8601 in UTC."""


@dataclass(frozen=True)
class Production:
    """One move of the production pointer; the latest one is what serves.

    `previous` is the version a rollback would return to, `replaced` the one that served just before.
    They differ after a rollback: v1, v2, v3, back to v2 has replaced v3, and a further rollback goes to v1.
    A cleanup deletes old versions, a canary begins, changes or ends the trial of a candidate: both leave what serves,
    since when and by whom as they are. Any other move ends the trial.
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
    cleanup: dict[str, Any] | None = None
    """The latest cleanup (`at`, `by`, `deleted`), repeated by every later move; None if there was none."""
    canary: dict[str, Any] | None = None
    """The canary that runs, or with `candidate` null the end of one (`at`, `by`, `candidate`); None: neither."""
    etag: str = field(compare=False, default="")
    """ETag of `production.json` when this was read; empty for a record of the history."""

    @property
    def record_key(self) -> str:
        """Key of this move's record in the history."""
        return record_key(self.sequence, self.version, self.kind)

    @property
    def made_at(self) -> str:
        """When this move was made, ISO 8601 in UTC."""
        return str(self._own["at"]) if self._own else self.promoted_at

    @property
    def made_by(self) -> str:
        """The run or person that made this move."""
        return str(self._own["by"]) if self._own else self.promoted_by

    @property
    def candidate(self) -> Candidate | None:
        """The canary that serves a share of the links now; None: production serves all."""
        return Candidate(**self.canary["candidate"]) if self.canary and self.canary["candidate"] else None

    @property
    def _own(self) -> dict[str, Any] | None:
        """When and by whom this move was made, where that is not the promotion itself."""
        return self.cleanup if self.kind == "cleanup" else self.canary if self.kind == "canary" else None

    def followed_by(self, kind: Kind, **changes: Any) -> Production:
        """The next record of the pointer: this one with `changes`. The same version stays in production."""
        return replace(self, sequence=self.sequence + 1, kind=kind, replaced=self.version, **changes)

    @property
    def deleted(self) -> list[str]:
        """The versions that the latest cleanup deletes: none of them may come back."""
        return list(self.cleanup["deleted"]) if self.cleanup else []

    @property
    def document(self) -> dict[str, Any]:
        """This move as it appears in `production.json` and in the history."""
        values = asdict(self)
        del values["etag"]
        return {name: value for name, value in values.items() if value or name not in ("cleanup", "canary")}


def read_production(store: Store) -> Production | None:
    """What is in production; None if nothing has been published yet.

    Raises:
        DocumentError: `production.json` is not a valid document.
        ObjectCorruptError: it is not the document that was written.
    """
    try:
        content, etag = store.read(PRODUCTION_KEY)
    except ObjectMissingError:
        return None
    return decode(store, PRODUCTION_KEY, content, etag)


def encode(production: Production) -> bytes:
    """The move as it is written, with its checksum."""
    return write_manifest("production", production.document, name=PRODUCTION_KEY)


def decode(store: Store, key: str, content: bytes, etag: str = "") -> Production:
    """The move in `content`, which was read from `key`.

    Raises:
        DocumentError: not a valid document.
        ObjectCorruptError: not the document that was written, or its parts are about different versions.
    """
    name = f"{store.uri}/{key}"
    made = Production(**delete_manifest("production", content, name=name), etag=etag)
    files = (model_key(made.version, onnx_name(made.version)), model_key(made.version, DECISION_NAME))
    about_itself = {"cleanup": made.cleanup, "canary": made.canary}.get(made.kind, made.decision)
    if (made.onnx_key, made.decision["key"]) != files or not about_itself:
        raise ObjectCorruptError(f"{name}: its keys are not those of {made.version}; restore it from a copy.")
    candidate = made.candidate
    if candidate and candidate.onnx_key != model_key(candidate.version, onnx_name(candidate.version)):
        raise ObjectCorruptError(
            f"{name}: the key of its canary is not that of {candidate.version}; restore it from a copy."
        )
    return made
