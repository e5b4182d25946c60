"""A registry with many versions in a local folder, each promoted once: how long `status`, listing and `gc` take.

The files of the versions are empty, since none of these commands opens one; each version has as many as a real one.
Pointer and history are real. `verify` is left out: it reads every byte, so its time depends on their number.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common import median_seconds, report

from bwpredict.registry.history import read_history, read_record, record_names
from bwpredict.registry.layout import (
    DECISION_NAME,
    MANIFEST_NAME,
    OPTIONAL_FILES,
    PRODUCTION_KEY,
    model_key,
    onnx_name,
    required_files,
)
from bwpredict.registry.pointer import Production, encode, read_production
from bwpredict.registry.retention import RetentionPolicy, plan_retention
from bwpredict.registry.versions import list_versions
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
MOVES = 20
"""As many as `bwpredict status` shows."""


def main() -> None:
    """Make the folders, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    count = parser.parse_args().versions
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        store = _fill(Path(folder), [f"v{FIRST + timedelta(hours=number):%Y%m%d_%H%M%S}" for number in range(count)])
        made = time.perf_counter() - began
        if len(list_versions(store)) != count or len(record_names(store, read_production(store))) != count:
            raise AssertionError("the registry is not complete")
        later = datetime.now(UTC) + timedelta(days=30)
        cases: dict[str, Callable[[], object]] = {
            "list_versions": lambda: list_versions(store),
            "all keys": lambda: list(store.keys("models/")),
            "status": lambda: _status(store),
            "gc --dry-run, nothing to delete": lambda: plan_retention(store, RetentionPolicy(12), now=later),
            "gc --dry-run, most to delete": lambda: plan_retention(store, RetentionPolicy(12, 12), now=later),
            "the whole history": lambda: read_history(store),
        }
        rows = [{"what": what, "versions": count, "seconds": median_seconds(action)} for what, action in cases.items()]
    report("registry", [*rows, {"what": "making the files", "versions": count, "seconds": made}])


def _status(store: Store) -> None:
    """What `bwpredict status` reads."""
    production = read_production(store)
    for name in record_names(store, production)[-MOVES:]:
        read_record(store, name.key, production)
    list_versions(store)


def _fill(root: Path, versions: list[str]) -> Store:
    """Each version was promoted once, one after the other; written past the store, which would take an hour."""
    (root / "history").mkdir()
    serving: Production | None = None
    for version in versions:
        folder = root / "models" / version
        folder.mkdir(parents=True)
        for name in (*required_files(version), *OPTIONAL_FILES, MANIFEST_NAME):
            (folder / name).touch()
        serving = _promoted(version, serving)
        (root / serving.record_key).write_bytes(encode(serving))
    if serving:
        (root / PRODUCTION_KEY).write_bytes(encode(serving))
    return open_store(str(root))


def _promoted(version: str, before: Production | None) -> Production:
    previous = before.version if before else None
    return Production(
        sequence=before.sequence + 1 if before else 1,
        kind="promotion" if before else "bootstrap",
        version=version,
        month="2026-10",
        onnx_key=model_key(version, onnx_name(version)),
        sha256="0" * 64,
        previous=previous,
        replaced=previous,
        promoted_at=FIRST.isoformat(),
        promoted_by="bench",
        reason=None,
        decision={"key": model_key(version, DECISION_NAME), "sha256": "0" * 64},
    )


if __name__ == "__main__":
    main()
