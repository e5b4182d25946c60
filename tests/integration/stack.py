"""The production stack as local processes: docker-compose.yaml's services, commands and environments, other addresses.

What stands in for the container engine is here: addresses and ports, a home folder and a host name for each service,
PostgreSQL's first start, and restarts. The S3 server is moto's, behind a proxy that can take it away.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from airflow_server import PRELOADING
from compose import COMPOSE, REPOSITORY, services
from faulty_s3 import FaultyS3, running_proxy
from fixtures_alerts import Receiver, running_receiver
from fixtures_s3 import running_s3_server
from processes import Service, Supervisor, ordinary_user, run_once, wait_for

SITE = Path(__file__).with_name("site")
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer", "worker", "gpu-worker")
LISTENERS = ("postgres", "redis", "api", "statsd", "worker logs", "gpu-worker logs", "triggerer logs")
FASTER = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "25",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
}
"""Hours that a test cannot wait; the mechanisms are those of production."""
RARER = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300"}
"""The DAG files stay as they are."""
SMALLER = {"AIRFLOW__CELERY__WORKER_CONCURRENCY": "1", "OMP_NUM_THREADS": "1", "AIRFLOW__CORE__PARALLELISM": "4"}
OFTEN = {"BWPREDICT_CHECKPOINT_SECONDS": "1"}
"""Trainings here last seconds, and are to be killed in the middle."""


@dataclass
class Stack:
    """The running services by name, and where they are."""

    folder: Path
    variables: dict[str, str]
    ports: dict[str, int]
    s3: FaultyS3
    defaults: dict[str, Any]
    """Params of the retraining in place of those of its form."""
    alerts: Receiver
    """What people are told."""
    metrics: set[str] = field(default_factory=set)
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['api']}"

    def work(self, name: str) -> Path:
        """Where the service has its work areas: a folder of its own, as each container has."""
        return self.folder / name / "work"

    def __getitem__(self, name: str) -> Service:
        return self.services[name]

    def localised(self, text: str) -> str:
        """An address inside the compose network, as it is here."""
        addresses = {
            "@postgres/": f"@127.0.0.1:{self.ports['postgres']}/",
            "@redis:6379": f"@127.0.0.1:{self.ports['redis']}",
            "http://s3:9000": self.s3.endpoint,
            "http://api-server:8080": self.url,
            "http://localhost:8080": self.url,
        }
        for there, here in addresses.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """What compose gives the service `name`, and what the image and the engine would add."""
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
        given = services(self.variables)[name]["environment"]
        home = self.folder / name
        home.mkdir(exist_ok=True)
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            **{key: self.localised(str(value)) for key, value in given.items()},
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.ports["statsd"]),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "container.name",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.ports["api"]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports.get(f"{name} logs", 0)),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports.get(f"{name} logs", 0)),
            "CONTAINER": name,
            "BWPREDICT_WORK": str(self.work(name)),
            "BWPREDICT_PUSHGATEWAY": "",
            "PYTHONPATH": f"{SITE}:{PRELOADING}",
            "RETRAIN_DEFAULTS": json.dumps(self.defaults),
            "AWS_EC2_METADATA_DISABLED": "true",
            **FASTER,
            **RARER,
            **SMALLER,
            **OFTEN,
        }

    def run_service(self, name: str) -> str:
        """A service that ends by itself."""
        return run_once(services(self.variables)[name]["command"], self.environment(name))

    def health_check(self, name: str) -> list[str]:
        """The service's health check, as a command."""
        how, *words = services(self.variables)[name]["healthcheck"]["test"]
        words = [self.localised(word) for word in words]
        return ["sh", "-c", *words] if how == "CMD-SHELL" else words

    def health(self) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        return answer

    def is_healthy(self) -> bool:
        try:
            parts = self.health()
        except (httpx.HTTPError, ValueError):
            return False
        return all(
            parts[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")
        )


@contextmanager
def running_stack(folder: Path, defaults: dict[str, Any]) -> Iterator[Stack]:
    """The whole set, up and healthy while the block runs."""
    with running_s3_server({}) as upstream, running_proxy(upstream) as proxy, running_receiver() as alerts:
        ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        variables = written_secrets(folder) | {"BWPREDICT_ALERT_URLS": alerts.url()}
        stack = Stack(folder, variables, ports, proxy, defaults, alerts)
        add_postgres(stack)
        add_redis(stack)
        for name in AIRFLOW:
            command = services(stack.variables)[name]["command"]
            stack.services[name] = Service(name, command, stack.environment(name), stack.folder / name)
        supervisor = Supervisor(list(stack.services.values()))
        try:
            with listening_for_metrics(stack):
                bring_up(stack, supervisor)
                yield stack
        finally:
            if supervisor.is_alive():
                supervisor.end()
            for service in reversed(stack.services.values()):
                service.stop(patience_seconds=3 if service.name in AIRFLOW else 15)


def bring_up(stack: Stack, supervisor: Supervisor) -> None:
    """In the order of compose's `depends_on`."""
    stack["postgres"].start()
    stack["redis"].start()
    wait_for("PostgreSQL and Redis", lambda: listens(stack.ports["postgres"]) and listens(stack.ports["redis"]))
    create_database(stack)
    stack.run_service("buckets")
    stack.run_service("init")
    for name in AIRFLOW:
        stack[name].start()
    supervisor.start()
    wait_for("every Airflow service to be healthy", stack.is_healthy, 480)


def written_secrets(folder: Path) -> dict[str, str]:
    """What `make secrets` writes."""
    shutil.copy(COMPOSE, folder)
    run_once(["env", "-C", str(folder), sys.executable, str(REPOSITORY / "scripts/make_env.py")], os.environ)
    return dict(line.split("=", 1) for line in (folder / ".env").read_text().splitlines())


def add_postgres(stack: Stack) -> None:
    """A fresh cluster with the user and the password that the image would make from the same variables."""
    variables, user = services(stack.variables)["postgres"]["environment"], ordinary_user()
    home, data = stack.folder / "postgres", stack.folder / "postgres" / "data"
    home.mkdir()
    password = home / "password"
    password.write_text(variables["POSTGRES_PASSWORD"])
    if user:
        shutil.chown(home, user)
        shutil.chown(password, user)
    program = postgres_program("initdb")
    options = ["--username", variables["POSTGRES_USER"], "--auth", "scram-sha-256", "--pwfile", str(password)]
    run_once([program, "-D", str(data), *options], {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}, user)
    password.unlink()
    place = ["-D", str(data), "-p", str(stack.ports["postgres"]), "-k", str(home), "-c", "listen_addresses=127.0.0.1"]
    command = [postgres_program("postgres"), *place]
    stack.services["postgres"] = Service("postgres", command, {"LANG": "C.UTF-8"}, home, user, signal.SIGINT)


def create_database(stack: Stack) -> None:
    """POSTGRES_DB."""
    variables = services(stack.variables)["postgres"]["environment"]
    where = ["-h", "127.0.0.1", "-p", str(stack.ports["postgres"]), "-U", variables["POSTGRES_USER"]]
    environment = {"PGPASSWORD": variables["POSTGRES_PASSWORD"], "PATH": os.environ["PATH"]}
    command = [postgres_program("createdb"), *where, variables["POSTGRES_DB"]]
    wait_for("the database", lambda: subprocess.run(command, env=environment, check=False).returncode == 0)


@contextmanager
def running_postgres() -> Iterator[str]:
    """An empty database of its own; gives its address as SQLAlchemy takes it."""
    user, (port,) = ordinary_user(), free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bwpredict-postgres-") as folder:
        home, environment = Path(folder), {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
        if user:
            shutil.chown(home, user)
        run_once([postgres_program("initdb"), "-D", f"{home}/data", "-U", "airflow", "-A", "trust"], environment, user)
        place = ["-D", f"{home}/data", "-p", str(port), "-k", str(home), "-c", "listen_addresses=127.0.0.1"]
        command = [postgres_program("postgres"), *place]
        service = Service("postgres", command, environment, home, user, signal.SIGINT)
        service.start()
        try:
            made = [postgres_program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "airflow", "airflow"]
            wait_for("the database", lambda: subprocess.run(made, check=False).returncode == 0)
            yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/airflow"
        finally:
            service.stop()


def add_redis(stack: Stack) -> None:
    command = services(stack.variables)["redis"]["command"]
    home = stack.folder / "redis"
    home.mkdir()
    place = ["--port", str(stack.ports["redis"]), "--bind", "127.0.0.1", "--dir", str(home)]
    stack.services["redis"] = Service("redis", [*command, *place], {"PATH": os.environ["PATH"]}, home)


def postgres_program(name: str) -> str:
    """Debian keeps them out of the PATH."""
    found = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), shutil.which(name)]
    assert found[0], f"{name} is missing: bash scripts/services.sh"
    return str(found[0])


@contextmanager
def listening_for_metrics(stack: Stack) -> Iterator[None]:
    """What the statsd exporter would receive: the names of the metrics."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", stack.ports["statsd"]))
        receiver.settimeout(1)
        end = threading.Event()

        def listen() -> None:
            while not end.is_set():
                try:
                    stack.metrics.add(receiver.recv(4096).decode().split(":")[0])
                except TimeoutError:
                    continue

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield
        end.set()
        thread.join()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports that differ from one another."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
