"""A real API server with the pages, over a registry on a real S3 server that a test can silence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from airflow_server import AirflowServer, running_airflow
from fixtures_s3 import running_s3_server_process
from published_versions import published_months

from bwpredict.registry.promotion import Production, read_history
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store

PAGES = "/bandwidth-models/of/default"
BUCKET = "pages"
S3_KEYS = {
    "AWS_ACCESS_KEY_ID": "test-access-key",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class Site:
    """The server, its registry, and the S3 process behind that."""

    server: AirflowServer
    store: Store
    s3: subprocess.Popen[bytes]
    work: Path

    @property
    def history(self) -> list[Production]:
        return read_history(self.store)

    def form_token(self, user: str, page: str = "rollback") -> str:
        """The token of the form that the user is shown."""
        shown = self.server.get(f"{PAGES}/{page}", user)
        assert shown.status == 200, shown.text
        return re.search(r'name="token" value="([^"]+)"', shown.text)[1]


@pytest.fixture(scope="session")
def airflow_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("pages")
    with running_s3_server_process() as (s3, endpoint), pytest.MonkeyPatch.context() as patch:
        environment = {**S3_KEYS, "AWS_ENDPOINT_URL": endpoint}
        for name, value in environment.items():
            patch.setenv(name, value)
        request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")  # noqa: S310 - our own server
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310
        uri = f"s3://{BUCKET}/registry"
        with running_airflow(root, BWPREDICT_REGISTRY=uri, **environment) as server:
            yield Site(server, open_store(uri), s3, root / "work")


@pytest.fixture
def site(airflow_site: Site) -> Iterator[Site]:
    """The server over an empty registry."""
    yield airflow_site
    os.kill(airflow_site.s3.pid, signal.SIGCONT)
    for key in list(airflow_site.store.keys()):
        airflow_site.store.delete(key)


@pytest.fixture
def three_versions(site: Site, tmp_path: Path) -> list[str]:
    """Three months, each promoted over the one before."""
    return [made.version for made in published_months(site.store.uri, tmp_path, 3)]
