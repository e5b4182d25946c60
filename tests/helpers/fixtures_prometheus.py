"""A real Prometheus, with back-filled series and with targets to scrape, in a separate process group."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from monitored_links import DAY, open_metrics


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that holds two links' metrics of one day, with a gap."""
    if not shutil.which("promtool"):
        pytest.skip("needs Prometheus (scripts/services.sh installs it)")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples").write_text(open_metrics())
    fill = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "samples"), str(folder / "data")]
    subprocess.run(fill, check=True, capture_output=True)
    with run_prometheus(folder, "scrape_configs: []\n") as url:
        yield url


@contextmanager
def run_prometheus(folder: Path, config: str) -> Iterator[str]:
    """Run a server on `folder / "data"`; its URL."""
    (folder / "prometheus.yml").write_text(config)
    keep = (datetime.now(UTC) - DAY).days + 30
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--storage.tsdb.retention.time={max(30, keep)}d",
    ]
    with run_server(folder, command, free_port()) as url:
        yield url


@contextmanager
def run_server(folder: Path, command: list[str], port: int) -> Iterator[str]:
    """Run a program of Prometheus's family on the port, with its log in the folder; its URL."""
    path = folder / f"{command[0]}.log"
    with path.open("w") as log:
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([*command, listen], stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/-/ready", process, path)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer within 60 s")
