"""The canary: a published version that serves a share of the links beside production, until somebody concludes.

Beginning, changing the share and ending are moves of the production pointer, each with its own record in the
history. What is in production stays as it is; promoting the candidate is a decision of its own (`promote`).
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import UTC, datetime

from bwpredict.errors import ConfigError, GateRejected
from bwpredict.registry.history import complete_history
from bwpredict.registry.layout import model_key, onnx_name
from bwpredict.registry.pointer import Candidate, Production, read_production
from bwpredict.registry.promotion import require_expected, require_not_deleted, swap_pointer
from bwpredict.registry.versions import verify_version
from bwpredict.store.base import Store


def begin_canary(
    store: Store,
    version: str,
    share: float,
    *,
    made_by: str,
    now: datetime,
    expected_version: str | None = None,
    reason: str | None = None,
) -> Production:
    """Let a published version serve this share of the links (above 0, below 1), or change its share if it does already.

    Every file of the version is verified first. Asked again with the same share, nothing moves.

    Raises:
        ConfigError: the share is out of bounds, nothing is in production, or the version is what is in production.
        GateRejected: another version is being tried.
        ObjectMissingError, ObjectCorruptError, ConflictError: as `promote`.
    """
    if not (math.isfinite(share) and 0 < share < 1):
        raise ConfigError(f"share={share}: a canary's share of the links must be above 0 and below 1, such as 0.1.")
    current = _serving(store, expected_version)
    if current.version == version:
        raise ConfigError(f"{store.uri}: {version} is in production; only another version can be its canary.")
    tried = current.candidate
    if tried and tried.version != version:
        raise GateRejected(
            f"{store.uri}: {tried.version} is the canary; end its trial before you start that of {version}."
        )
    if tried and tried.share == share:
        return complete_history(store, current)
    require_not_deleted(store, current, version)
    manifest = verify_version(store, version)
    candidate = Candidate(
        version=version,
        share=share,
        onnx_key=model_key(version, onnx_name(version)),
        sha256=manifest.sha256[onnx_name(version)],
        since=tried.since if tried else _utc(now),
    )
    return swap_pointer(store, current, _moved(current, candidate, made_by, now, reason))


def end_canary(
    store: Store, *, made_by: str, now: datetime, expected_version: str | None = None, reason: str | None = None
) -> Production:
    """Let production serve all links again; `reason` is what the trial showed. Without a canary nothing moves.

    Raises:
        ConfigError: nothing is in production.
        ConflictError: as `promote`.
    """
    current = _serving(store, expected_version)
    if current.candidate is None:
        return complete_history(store, current)
    return swap_pointer(store, current, _moved(current, None, made_by, now, reason))


def _serving(store: Store, expected_version: str | None) -> Production:
    current = read_production(store)
    require_expected(store, current, expected_version)
    if current is None:
        raise ConfigError(f"{store.uri}: nothing is in production, so no canary can run beside it.")
    return current


def _moved(
    current: Production, candidate: Candidate | None, made_by: str, now: datetime, reason: str | None
) -> Production:
    canary = {"at": _utc(now), "by": made_by, "candidate": asdict(candidate) if candidate else None}
    return current.followed_by("canary", reason=reason, canary=canary)


def _utc(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="seconds")
