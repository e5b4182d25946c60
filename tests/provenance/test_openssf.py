"""OpenSSF's signature of a version, checked by OpenSSF's own `model_signing`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from challengers import V1, a_challenger, published

from bwpredict.errors import ConfigError
from bwpredict.provenance.openssf import load_openssf_key, write_openssf
from bwpredict.registry.layout import OPENSSF_NAME
from bwpredict.registry.versions import verify_version
from bwpredict.store.factory import open_store
from bwpredict.store.files import sha256_of

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class KeyPair:
    private: Path
    public: Path


@pytest.fixture
def make_keys(tmp_path: Path) -> Callable[[str], KeyPair]:
    """EC keys as the documentation makes them."""

    def make(curve: str) -> KeyPair:
        pair = KeyPair(tmp_path / f"{curve}.pem", tmp_path / f"{curve}.pub")
        openssl("ecparam", "-name", curve, "-genkey", "-noout", "-out", pair.private)
        openssl("ec", "-in", pair.private, "-pubout", "-out", pair.public)
        return pair

    return make


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def publish_signed(tmp_path: Path, key: Path) -> Path:
    """The folder of a version that was published with OpenSSF's signature."""
    challenger = a_challenger(tmp_path, V1)
    files = {path.name: sha256_of(path) for path in challenger.folder.iterdir()}
    write_openssf(challenger.folder / OPENSSF_NAME, V1, files, load_openssf_key(str(key)))
    store = open_store(str(tmp_path / "registry"))
    published(store, challenger)
    assert OPENSSF_NAME in verify_version(store, V1).sha256
    return tmp_path / "registry" / "models" / V1


def verified(folder: Path, public: Path) -> tuple[int, str]:
    """Exit code and output of OpenSSF's verifier."""
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(folder)]
    signature = ["--signature", str(folder / OPENSSF_NAME), "--public_key", str(public)]
    done = subprocess.run([*command, *signature], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_the_verifier_accepts_a_published_version(tmp_path, make_keys, curve):
    keys = make_keys(curve)
    code, said = verified(publish_signed(tmp_path, keys.private), keys.public)
    assert (code, "Verification succeeded" in said) == (0, True), said


def test_the_verifier_refuses_changed_added_and_missing_files_and_another_key(tmp_path, make_keys):
    keys, strangers = make_keys("prime256v1"), make_keys("secp384r1")
    folder = publish_signed(tmp_path, keys.private)
    assert verified(folder, strangers.public)[0] != 0
    changed, content = folder / "decision.json", (folder / "decision.json").read_bytes()

    changed.write_bytes(content + b" ")
    code, said = verified(folder, keys.public)
    assert (code != 0, "Hash mismatch for" in said, "decision.json" in said) == (True, True, True), said
    changed.unlink()
    assert "Missing files" in verified(folder, keys.public)[1]
    changed.write_bytes(content)
    (folder / "added.json").write_bytes(b"{}")
    assert "Extra files found" in verified(folder, keys.public)[1]


def test_the_same_files_give_the_same_signature(tmp_path, make_keys):
    key = load_openssf_key(str(make_keys("prime256v1").private))
    first, again = (
        write_openssf(tmp_path / name, V1, {"a.onnx": "00" * 32}, key).read_bytes() for name in ("first", "again")
    )
    assert first == again


@pytest.mark.parametrize("curve", ["secp256k1", "ed25519"])
def test_a_key_of_another_kind_is_refused(tmp_path, make_keys, curve):
    key = tmp_path / "other.pem"
    if curve == "ed25519":
        openssl("genpkey", "-algorithm", curve, "-out", key)
    else:
        key = make_keys(curve).private
    with pytest.raises(ConfigError, match="is not an EC key on P-256, P-384 or P-521"):
        load_openssf_key(str(key))
