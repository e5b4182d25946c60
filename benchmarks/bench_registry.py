"""A registry with many versions on a local folder: how long listing them takes.

The files are empty, since listing reads none of them; a version has as many as a real one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common import median_seconds, report

from bwpredict.registry.layout import MANIFEST_NAME, OPTIONAL_FILES, required_files
from bwpredict.registry.versions import list_versions
from bwpredict.store import Store, open_store


def main() -> None:
    """Make the folders, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    versions = parser.parse_args().versions
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        store = _fill(Path(folder), versions)
        made = time.perf_counter() - began
        cases: dict[str, Callable[[], object]] = {
            "list_versions": lambda: list_versions(store),
            "all keys": lambda: list(store.keys("models/")),
        }
        if len(list_versions(store)) != versions:
            raise AssertionError("the listing is not complete")
        rows = [
            {"what": what, "versions": versions, "seconds": median_seconds(action)} for what, action in cases.items()
        ]
    report("registry", [*rows, {"what": "making the files", "versions": versions, "seconds": made}])


def _fill(root: Path, versions: int) -> Store:
    first = datetime(2020, 1, 1, tzinfo=UTC)
    for number in range(versions):
        version = f"v{first + timedelta(hours=number):%Y%m%d_%H%M%S}"
        folder = root / "models" / version
        folder.mkdir(parents=True)
        for name in (*required_files(version), *OPTIONAL_FILES, MANIFEST_NAME):
            (folder / name).touch()
    return open_store(str(root))


if __name__ == "__main__":
    main()
