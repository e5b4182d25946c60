"""The first view of a registry with many versions, and how long each DAG file takes to parse.

The view is what the page "Bandwidth models" reads and draws, on a local folder, without HTTP.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import median_seconds, report

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "plugins")]
_PARSE = """
import sys, time, importlib.util
import airflow.sdk
sys.path.append("plugins")
began = time.perf_counter()
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(time.perf_counter() - began)
"""


def main() -> None:
    """Make the registry, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=500)
    versions = parser.parse_args().versions
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"what": "first view", "versions": versions, "seconds": _first_view(Path(folder), versions)}]
    for path in sorted((REPOSITORY / "dags").glob("*.py")):
        seconds = statistics.median(_parsed(path) for _ in range(3))
        rows.append({"what": f"parse {path.name}", "versions": None, "seconds": seconds})
    report("pages", rows)


def _first_view(folder: Path, versions: int) -> float:
    from bwpredict_airflow.page import render
    from published_versions import published_month

    from bwpredict.registry.overview import overview, version_documents
    from bwpredict.store import open_store

    store = open_store(str(folder / "registry"))
    champion = None
    for number in range(versions):
        champion = published_month(store, folder / "work", number, champion=champion).version
        shutil.rmtree(folder / "work")

    def view() -> None:
        seen = overview(store)
        if seen.count != versions or seen.production is None:
            raise AssertionError("the view is not complete")
        health = version_documents(store, seen.production.version)
        render.page(
            "default", "overview.html", may={"move": True, "retrain": True}, models=["default"], seen=seen, problem="",
            runs=[], registry=store.uri, charts=render.charts(seen), drift=render.drift(health.validation),
            rivals=render.rivals(health.comparison), below="",
        )  # fmt: skip

    return median_seconds(view)


def _parsed(path: Path) -> float:
    """Seconds of one parse in a fresh process, after Airflow's SDK was imported."""
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, str(path)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
