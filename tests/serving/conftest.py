"""A registry with one small model, and ed25519 keys made by openssl as the documentation says."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from challengers import V1
from models import publish_model

from bwpredict.store.base import Store
from bwpredict.store.factory import open_store


@dataclass(frozen=True)
class KeyPair:
    private: Path
    public: Path


def make_keys(folder: Path, name: str) -> KeyPair:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    return KeyPair(private, public)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_keys(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="session")
def strangers_keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return make_keys(tmp_path_factory.mktemp("keys"), "strangers")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """V1 is in production: it repeats the last values."""
    store = open_store(str(tmp_path / "registry"))
    publish_model(store, tmp_path, V1)
    return store
