"""The first view of a registry with many versions, and how long each DAG file takes to parse.

The view is what the page "Bandwidth models" reads and renders, from a local folder, without HTTP. With `--server`, the
benchmark also requests the page from a real API server, with the registry in a folder, and then on an S3 server (moto,
one process) that stops answering at the end. `cold` is the server process's first request for these pages, `warm` the
median of the next five.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common import median_seconds, report

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests" / "helpers"), str(REPOSITORY / "plugins")]
PAGE = "/bandwidth-models/of/default/"
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_PARSE = """
import sys, time, importlib.util
import airflow.sdk
sys.path.append("plugins")
began = time.perf_counter()
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(time.perf_counter() - began)
"""
Row = dict[str, Any]


def main() -> None:
    """Make the registry, then measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--server", action="store_true", help="also measure over HTTP, with a real API server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, versions = Path(name), arguments.versions
        _publish(folder, versions)
        rows = [_row("first view", median_seconds(_view(folder, versions)), versions)]
        if arguments.server:
            rows += _on_a_folder(folder, versions) + _on_s3(folder, versions)
    rows += [_row(f"parse {path.name}", _parsed(path)) for path in sorted((REPOSITORY / "dags").glob("*.py"))]
    report("pages", rows)


def _publish(folder: Path, versions: int) -> None:
    from published_versions import published_month

    from bwpredict.store.factory import open_store

    store, champion = open_store(str(folder / "registry")), None
    for number in range(versions):
        champion = published_month(store, folder / "made", number, champion=champion).version
        shutil.rmtree(folder / "made")


def _view(folder: Path, versions: int) -> Callable[[], None]:
    from bwpredict_airflow.webapp import render
    from bwpredict_airflow.webapp.monitored_days import DAYS, monitored_days

    from bwpredict.monitoring.days import read_series
    from bwpredict.pipeline.health import production_health
    from bwpredict.registry_views.overview import overview, version_documents
    from bwpredict.store.factory import open_store

    store = open_store(str(folder / "registry"))

    def view() -> None:
        seen = overview(store)
        if seen.count != versions or seen.production is None:
            raise AssertionError("the view is not complete")
        serving, days = version_documents(store, seen.production.version), list(read_series(store, DAYS))
        render.render_page(
            "default", "overview.html", may={"move": True, "retrain": True}, models=["default"], seen=seen, problem="",
            health=production_health(seen.production, [], days, now=datetime.now(UTC)), monitored=monitored_days(days),
            runs=[], steps={}, no_runs="", registry=store.uri, charts=render.charts(seen, None),
            rivals=render.model_comparison(serving.comparison), below="",
        )  # fmt: skip

    return view


def _on_a_folder(folder: Path, versions: int) -> list[Row]:
    from airflow_server import running_airflow

    with running_airflow(_made(folder / "local"), BWPREDICT_REGISTRY=str(folder / "registry")) as server:
        return _cold_and_warm(server, "registry in a folder", versions)


def _on_s3(folder: Path, versions: int) -> list[Row]:
    from airflow_server import running_airflow
    from fixtures_s3 import running_s3_server_process

    with running_s3_server_process() as (process, endpoint), _environment({**S3_KEYS, "AWS_ENDPOINT_URL": endpoint}):
        _copy_to_s3(folder / "registry")
        registry = "s3://pages/registry"
        with running_airflow(_made(folder / "s3"), BWPREDICT_REGISTRY=registry) as server:
            rows = _cold_and_warm(server, "registry on S3 (moto)", versions)
        with running_airflow(_made(folder / "down"), BWPREDICT_REGISTRY=registry) as server:
            os.kill(process.pid, signal.SIGSTOP)
            try:
                rows += _cold_and_warm(server, "registry that is down", versions, shows="did not answer")
            finally:
                os.kill(process.pid, signal.SIGCONT)
    return rows


def _cold_and_warm(server: Any, what: str, versions: int, shows: str = "") -> list[Row]:
    """Both, each compared with what the page must show."""
    expected = shows or f'Versions <span class="muted">{versions}<'
    server.token("admin")

    def view() -> None:
        page = server.get(PAGE, "admin")
        if page.status != 200 or expected not in page.text:
            raise AssertionError(f"{what}: {page.status}, without {expected!r}")

    began = time.perf_counter()
    view()
    cold = time.perf_counter() - began
    return [_row(f"{what}, cold", cold, versions), _row(f"{what}, warm", median_seconds(view), versions)]


def _copy_to_s3(registry: Path) -> None:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="pages")
    files = [path for path in registry.rglob("*") if path.is_file() and not path.name.startswith(".")]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda path: client.upload_file(path, "pages", f"registry/{path.relative_to(registry)}"), files))


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _parsed(path: Path) -> float:
    """Median seconds of three parses, each in a fresh process, after Airflow's SDK was imported."""
    command = [sys.executable, "-c", _PARSE, str(path)]
    done = [subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True) for _ in range(3)]
    return statistics.median(float(each.stdout.splitlines()[-1]) for each in done)


def _row(what: str, seconds: float, versions: int | None = None) -> Row:
    return {"what": what, "versions": versions, "seconds": seconds}


if __name__ == "__main__":
    main()
