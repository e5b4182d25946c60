"""The exporter on one core: CPU seconds of a minute and of a scrape, peak memory, and growth over many model reloads.

Each fleet runs in a separate process without torch, as the exporter does. Its source answers from memory, so the
figures exclude the time that a server takes to answer. A minute is read, forecast and published; a scrape is complete
and compressed. Then a new model warms up beside the one that serves, while each minute is scraped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

REPOSITORY = Path(__file__).resolve().parents[1]
VERSIONS = ("v20261101_000000", "v20261102_000000")
BEGIN = 1_788_220_800
WARMING_MINUTES = 5
THRESHOLDS = {"rtt_ms": [100.0], "throughput_mbps": [10.0]}


def main() -> None:
    """Publish an untrained model twice (its speed does not depend on its weights), and measure each fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--links", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--history", type=int, default=40, help="minutes before those that are measured")
    parser.add_argument("--minutes", type=int, default=10, help="minutes to measure, after the history")
    parser.add_argument("--reloads", type=int, nargs="+", default=[200, 0], help="model reloads for each fleet")
    parser.add_argument("--models", type=Path, help="internal: measure in this process")
    arguments = parser.parse_args()
    if arguments.models:
        print(json.dumps(measure(arguments, arguments.links[0], arguments.reloads[0])))
        return
    from common import report

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        publish(Path(folder))
        for links, reloads in zip(arguments.links, arguments.reloads, strict=True):
            command = [sys.executable, __file__, "--models", Path(folder, "dest"), "--links", links]
            command += ["--history", arguments.history, "--minutes", arguments.minutes, "--reloads", reloads]
            done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    report("exporter", rows)


def publish(folder: Path) -> None:
    """Both versions in a folder that `pull` keeps."""
    sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))
    from models import publish_stream_model

    from bwpredict.models.network import Contract, Forecaster
    from bwpredict.serving.delivery import deliver
    from bwpredict.store.factory import open_store

    store, model = open_store(str(folder / "store")), Forecaster(Contract()).eval()
    for version, before in zip(VERSIONS, (None, VERSIONS[0]), strict=True):
        publish_stream_model(store, folder, version, model, champion=before)
        deliver(store, folder / "dest")


class Fleet:
    """A source in memory: a sample of each link each minute since `BEGIN`."""

    where = "memory"

    def __init__(self, links: int) -> None:
        """Levels of this many links."""
        self._columns: dict[str, Any] = {"node_id": np.arange(links), "peer_id": np.arange(links) + 1}
        generator = np.random.default_rng(0)
        levels = {"throughput_mbps": 100, "rtt_ms": 20, "packet_loss": 0.01, "jitter_ms": 2}
        levels |= {"congestion_window": 40, "queue_depth": 5, "retransmits": 3}
        self._columns |= {name: level * generator.uniform(0.5, 1.5, links) for name, level in levels.items()}

    def check(self) -> None:
        """Nothing can be wrong."""

    def read_day(self, first: int, past: int) -> pa.Table:
        """The rows of the minutes, a link after another within each."""
        parts = []
        for at in range(max(first, BEGIN), past, 60):
            noise = 1 + 0.05 * np.sin(at / 600)
            values = {
                name: values * noise if values.dtype == float else values for name, values in self._columns.items()
            }
            parts.append(pa.table(values | {"timestamp": np.full(len(values["node_id"]), at)}))
        empty = {name: values[:0] for name, values in self._columns.items()} | {"timestamp": np.zeros(0, np.int64)}
        return pa.concat_tables(parts) if parts else pa.table(empty)


def measure(arguments: argparse.Namespace, links: int, reloads: int) -> dict[str, Any]:
    """One fleet, on one core."""
    models = arguments.models
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from bwpredict.exporter.exporter import Exporter
    from bwpredict.exporter.server import serving

    exporter = Exporter(models, Fleet(links))
    now = BEGIN + 60 * arguments.history
    exporter.tick(now)
    seconds = []
    for _ in range(arguments.minutes):
        now += 60
        began = time.process_time()
        exporter.tick(now)
        seconds.append(time.process_time() - began)
    with serving(exporter, THRESHOLDS, "127.0.0.1:0") as port:
        scrape_seconds, megabytes = scrape(port)
        row = {
            "links": links,
            "median_minute_cpu_s": float(np.median(seconds)),
            "longest_minute_cpu_s": max(seconds),
            "scrape_cpu_s": scrape_seconds,
            "scrape_compressed_mb": megabytes,
            "peak_mb": peak_mb(),
        }
        row |= warming(exporter, models, port, now)
        now += 60 * WARMING_MINUTES
        return row | {"reloads": reloads} | (growth(exporter, models, now, reloads) if reloads else {})


def warming(exporter: Any, models: Path, port: int, now: float) -> dict[str, float]:
    """Some minutes in which a new model follows all links beside the one that serves, and each of which is scraped."""
    point_to(models, VERSIONS[0])
    seconds = []
    with ThreadPoolExecutor(1) as scraper:
        for _ in range(WARMING_MINUTES):
            scraped = scraper.submit(scrape, port)
            now += 60
            began = time.process_time()
            exporter.tick(now)
            seconds.append(time.process_time() - began)
            scraped.result()
    return {"warming_minute_with_scrape_cpu_s": float(np.median(seconds)), "peak_warming_mb": peak_mb()}


def growth(exporter: Any, models: Path, now: float, reloads: int) -> dict[str, float]:
    """Resident memory before and after this many models, each warming beside the one that serves for a minute."""
    before = 0.0
    for number in range(reloads + 5):  # the first ones bring the arrays of a second fleet
        point_to(models, VERSIONS[(number + 1) % 2])
        now += 60
        exporter.tick(now)
        if number == 4:
            before = resident_mb()
    return {"resident_before_mb": before, "growth_mb": resident_mb() - before, "peak_with_reloads_mb": peak_mb()}


def point_to(models: Path, version: str) -> None:
    """As `pull` does when production has moved."""
    temporary = models / ".current"
    temporary.symlink_to(f"versions/{version}")
    temporary.replace(models / "current")


def scrape(port: int) -> tuple[float, float]:
    """CPU seconds of server and client, and megabytes, as Prometheus asks."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept-Encoding": "gzip"})
    began, size = time.process_time(), 0
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 - our own server
        while piece := answer.read(1 << 20):
            size += len(piece)
    return time.process_time() - began, size / 1e6


def peak_mb() -> float:
    """Peak resident memory of this process."""
    return _status("VmHWM")


def resident_mb() -> float:
    """Resident memory of this process."""
    return _status("VmRSS")


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024 / 1e6


if __name__ == "__main__":
    main()
