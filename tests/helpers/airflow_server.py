"""A real Airflow API server, and if wanted all its other parts, in a folder and on a port of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

REPOSITORY = Path(__file__).resolve().parents[2]
PRELOADING = Path(__file__).with_name("preloading")
"""A folder for PYTHONPATH."""
STARTS_WITHIN_SECONDS = 600


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self):
        return json.loads(self.text)


@dataclass
class AirflowServer:
    """How a test speaks with the server, as one of its users or as nobody."""

    root: Path
    port: int
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def password(self, user: str) -> str:
        file = self.root / "airflow" / "simple_auth_manager_passwords.json.generated"
        return json.loads(file.read_text())[user]

    def token(self, user: str) -> str:
        if user not in self.tokens:
            body = {"username": user, "password": self.password(user)}
            answer = self.send("POST", "/auth/token", content=json.dumps(body), headers=JSON)
            self.tokens[user] = answer.json["access_token"]
        return self.tokens[user]

    def get(self, path: str, user: str | None = None, **headers: str) -> Answer:
        return self.send("GET", path, headers=self.headers(user) | headers)

    def post_form(self, path: str, user: str | None, form: Mapping[str, str], **headers: str) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self.send("POST", path, content=urlencode(form), headers=self.headers(user) | headers)

    def api(self, method: str, path: str, body: object = None) -> Answer:
        content = None if body is None else json.dumps(body)
        answer = self.send(method, f"/api/v2{path}", content=content, headers=self.headers("admin") | JSON)
        assert answer.status < 300, (path, answer.status, answer.text[:1000])
        return answer

    def send(self, method: str, path: str, *, content: str | None = None, headers: Mapping[str, str]) -> Answer:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=180)) as connection:
            connection.request(method, path, body=content, headers=dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())

    def headers(self, user: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user)}"} if user else {}


JSON = {"Content-Type": "application/json"}


@contextmanager
def running_airflow(
    root: Path, command: str = "api-server", *, further_schedulers: int = 0, **environment: str
) -> Iterator[AirflowServer]:
    """`airflow api-server`, or `standalone` for all parts, in the environment of `make up`; ended with its group."""
    server = AirflowServer(root, _free_port())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BWPREDICT"))}
    variables = kept | {
        "ROOT": str(root),
        "AIRFLOW__API__PORT": str(server.port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,view:viewer",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",  # the DAG files stay as they are
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(PRELOADING), os.environ.get("PYTHONPATH")))),
        **environment,
    }
    schedulers = "airflow scheduler --skip-serve-logs & " * further_schedulers
    script = f". scripts/airflow-env.sh; prepare_airflow 'dags reserialize'; {schedulers} exec airflow {command}"
    log = root / "airflow.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=REPOSITORY, env=variables, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_until_healthy(server, process, log, needs_all=command == "standalone")
            yield server
        finally:
            for stop in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, stop)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)


def _wait_until_healthy(server: AirflowServer, process: subprocess.Popen, log: Path, *, needs_all: bool) -> None:
    needed = ("metadatabase", "scheduler", "dag_processor", "triggerer") if needs_all else ("metadatabase",)
    for _ in range(STARTS_WITHIN_SECONDS * 2):
        with suppress(OSError, urllib.error.URLError, ValueError):
            parts = server.get("/api/v2/monitor/health").json
            if all(parts[part]["status"] == "healthy" for part in needed):
                return
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
