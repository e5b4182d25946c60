"""The database is restored from a dump on another server, by the commands of docs/production.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet
from processes import run_once
from sqlalchemy.engine import make_url
from stack import running_postgres

DOCS = Path(__file__).parents[2] / "docs" / "production.md"


def test_a_restored_database_has_connections_pools_and_the_schema(tmp_path, monkeypatch):
    for name, value in {"HOME": str(tmp_path / "airflow"), "FERNET_KEY": Fernet.generate_key().decode()}.items():
        monkeypatch.setenv(f"AIRFLOW_{name}" if name == "HOME" else f"AIRFLOW__CORE__{name}", value)
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    dump = tmp_path / "airflow.dump"
    with running_postgres() as before, running_postgres() as after:
        airflow(before, "db", "migrate")
        airflow(before, "pools", "set", "gpu", "1", "Training")
        airflow(before, "connections", "add", "store", "--conn-type", "aws", "--conn-password", "a secret")
        as_documented("pg_dump", before, output=dump)
        as_documented("pg_restore", after, given=dump)
        airflow(after, "db", "check-migrations", "--migration-wait-timeout", "1")
        (store,) = json.loads(airflow(after, "connections", "get", "store", "--output", "json"))
        assert store["password"] == "a secret"
        assert "gpu" in {pool["pool"] for pool in json.loads(airflow(after, "pools", "list", "--output", "json"))}


def airflow(database: str, *arguments: str) -> str:
    output = run_once(
        [sys.executable, "-m", "airflow", *arguments], {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database}
    )
    return output[output.find("[") :] if "json" in arguments else output


def as_documented(program: str, database: str, *, given: Path | None = None, output: Path | None = None) -> None:
    """Run the command of the page, without the container engine's part of it and with the server's address."""
    (line,) = re.findall(
        rf"^docker compose exec -T postgres ({program} .+?) [<>] airflow\.dump$", DOCS.read_text(), re.MULTILINE
    )
    url = make_url(database)
    command = [*line.split(), "--host", str(url.host), "--port", str(url.port)]
    with (given or Path(os.devnull)).open("rb") as source, (output or Path(os.devnull)).open("wb") as target:
        subprocess.run(command, stdin=source, stdout=target, check=True)
