"""A real S3-compatible server (`moto_server`, its own process) for the tests, and a store of each kind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from botocore.loaders import JSONFileLoader
from faulty_s3 import FaultyS3, running_proxy

from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
KEYS_PER_PAGE = 20
"""S3 lists 1,000 keys a page; a smaller page lets ordinary tests see more than one."""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint URL of an S3 server that lives as long as the test session. Sets nothing globally."""
    with running_s3_server({"MOTO_S3_DEFAULT_MAX_KEYS": str(KEYS_PER_PAGE)}) as endpoint:
        yield endpoint


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point boto3's standard environment variables at the server; returns the endpoint URL."""
    values = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(JSONFileLoader, "load_file", _load_once)
    return s3_server


@pytest.fixture
def s3_bucket(s3_environment: str) -> str:
    """A fresh, empty bucket; `open_store(f"s3://{s3_bucket}/prefix")` works while the test runs."""
    name = f"test-{uuid.uuid4().hex}"
    # Making a boto3 client takes longer than most tests do.
    request = urllib.request.Request(f"{s3_environment}/{name}", method="PUT")  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310
        return name


def put_objects(endpoint: str, bucket: str, objects: Mapping[str, bytes]) -> None:
    """Put these contents under their keys, without boto3 and without a store's checks: the beginning of a test."""
    with closing(HTTPConnection(urlsplit(endpoint).netloc, timeout=30)) as connection:
        for key, content in objects.items():
            connection.request("PUT", f"/{bucket}/{quote(key)}", body=content)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == HTTPStatus.OK, (key, answer.status)


@pytest.fixture
def faulty_s3(s3_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """boto3's endpoint is a proxy that fails as told."""
    with running_proxy(s3_environment) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture
def s3_asks_for_credentials(s3_server: str) -> Iterator[None]:
    """The S3 server accepts nobody while the test runs."""
    with asking_for_credentials(s3_server):
        yield


@contextmanager
def asking_for_credentials(endpoint: str) -> Iterator[None]:
    """The S3 server checks keys, signatures and policies while the block runs: it accepts its own users alone."""
    _post(f"{endpoint}/moto-api/reset-auth", b"0")
    try:
        yield
    finally:
        _post(f"{endpoint}/moto-api/reset-auth", b"inf")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, one of each kind in turn."""
    if request.param == "local":
        return open_store(str(tmp_path / "root"))
    return open_store(f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix")


@pytest.fixture
def local_store(tmp_path: Path) -> Store:
    """An empty local store, for tests of what does not depend on the kind of store."""
    return open_store(str(tmp_path / "root"))


@cache
def _parsed(path: str) -> object:
    return _load_file(JSONFileLoader(), path)


def _load_once(_loader: JSONFileLoader, path: str) -> object:
    """botocore parses megabytes of service models for each session, which takes longer than most tests do."""
    return _parsed(path)


_load_file = JSONFileLoader.load_file


def _post(url: str, body: bytes) -> None:
    request = urllib.request.Request(url, data=body, method="POST", headers={"Content-Type": "text/plain"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - our own server
        pass


@contextmanager
def running_s3_server(extra_environment: Mapping[str, str]) -> Iterator[str]:
    """Run one more server process while the block runs, for tests that need a special one; yields its URL."""
    with running_s3_server_process(extra_environment) as (_, endpoint):
        yield endpoint


@contextmanager
def running_s3_server_process(
    extra_environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The same for tests that do something to the process; yields it and its URL."""
    port = _free_port()
    command = [sys.executable, str(Path(__file__).with_name("moto_server.py")), "-H", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, **(extra_environment or {})}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_until_up(endpoint, process)
        yield process, endpoint
    finally:
        process.terminate()
        process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"moto_server ended at once with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5):  # noqa: S310 - our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"moto_server did not answer at {endpoint} within 60 s")
