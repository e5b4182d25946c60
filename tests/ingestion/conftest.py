"""A real PostgreSQL in a process group of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures_prometheus import free_port


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The SQLAlchemy URL of a server that an ordinary user runs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("needs PostgreSQL (scripts/services.sh installs it)")
    tools = found[-1]
    # Not below pytest's own folder, which only its owner may enter.
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    port = free_port()
    as_root = os.getuid() == 0
    if as_root:
        shutil.chown(folder, "postgres")
    run = ["runuser", "-u", "postgres", "--"] if as_root else []
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    data = folder / "data"
    initdb = [*run, str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", "tester", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd="/")
    start = [*run, str(tools / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start"]
    try:
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd="/")
        yield f"postgresql+psycopg2://tester@127.0.0.1:{port}/postgres"
    finally:
        stop = [*run, str(tools / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"]
        subprocess.run(stop, check=False, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)
