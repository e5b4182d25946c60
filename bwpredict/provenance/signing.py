"""Signatures of statements: ed25519 in a DSSE envelope, made and checked by securesystemslib.

openssl genpkey -algorithm ed25519 -out signing.pem     # stays with the publisher
openssl pkey -in signing.pem -pubout -out trusted.pem   # goes to the consumers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningLibraryError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey  # type: ignore[attr-defined]

from bwpredict.documents import decode_document, encode_document, read_document, write_document
from bwpredict.errors import ConfigError, DocumentError, ObjectMissingError, SignatureError
from bwpredict.provenance.statement import PREDICATE_TYPE
from bwpredict.registry.layout import ENVELOPE_NAME, OPENSSF_NAME, STATEMENT_NAME, model_key
from bwpredict.registry.versions import read_manifest
from bwpredict.store.base import Store

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def load_signer(path: str) -> CryptoSigner:
    """The signer with the ed25519 private key in the PEM file at `path`.

    Raises:
        ConfigError: no such file, or no such key; never repeats what was given where that may be a key.
    """
    key = load_pem(path, load_pem_private_key, "private")
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path}: is not an ed25519 key; expected one, in PEM.")
    return CryptoSigner(key)


@dataclass(frozen=True)
class TrustedKeys:
    """Public keys of which one must have signed a version."""

    keys: tuple[Key, ...]

    @staticmethod
    def load(paths: str) -> TrustedKeys:
        """The ed25519 public keys in the PEM files at `paths`, which are separated by blanks.

        Raises:
            ConfigError: names no file; no such file, or no such key.
        """
        if not paths.split():
            raise ConfigError("a signature is required, but no trusted key is given; set BWPREDICT_TRUSTED_KEYS.")
        return TrustedKeys(tuple(_public_key(path) for path in paths.split()))

    def require(self, envelope: Path, version: str, files: Mapping[str, str]) -> dict[str, Any]:
        """The statement in `envelope`, signed by one of these keys, about `files` (name to sha256) of `version`.

        Raises:
            SignatureError: there is no envelope, no signature by such a key, or it is about something else.
        """
        if not envelope.is_file():
            raise SignatureError(f"{version}: is not signed, but a signature is required; publish it with a key.")
        try:
            content = read_document(envelope, "dsse_envelope")
        except DocumentError as error:
            raise SignatureError(f"{version}: its signature cannot be read: {error}") from error
        return self.verify(content, version, files, where=str(envelope))

    def verify(self, content: dict[str, Any], version: str, files: Mapping[str, str], *, where: str) -> dict[str, Any]:
        """As `require`, for the content of an envelope that was read from `where`."""
        try:
            signed = Envelope.from_dict(content)
            signed.verify(list(self.keys), 1)
        except (SigningLibraryError, KeyError, ValueError, TypeError) as error:
            raise SignatureError(f"{where}: {version} is not signed by a trusted key; do not use it.") from error
        if signed.payload_type != PAYLOAD_TYPE:
            raise SignatureError(f"{where}: the signed content is not an in-toto statement; do not use {version}.")
        try:
            statement = decode_document("provenance", signed.payload, name=where)
        except DocumentError as error:
            raise SignatureError(f"{where}: the signed content is not a statement about a model: {error}") from error
        _require_about(statement, version, files, where)
        return statement


def require_signed(store: Store, version: str, trusted: TrustedKeys) -> None:
    """Refuse a version unless one of the keys signed every file that its manifest lists.

    Raises:
        SignatureError: it did not.
        ObjectMissingError, ObjectCorruptError: as `read_manifest`.
    """
    files = {
        name: sha256
        for name, sha256 in read_manifest(store, version).sha256.items()
        if name not in (STATEMENT_NAME, ENVELOPE_NAME, OPENSSF_NAME)
    }
    key = model_key(version, ENVELOPE_NAME)
    try:
        content = decode_document("dsse_envelope", store.read(key)[0], name=f"{store.uri}/{key}")
    except ObjectMissingError as error:
        raise SignatureError(
            f"{version}: is not signed, but a signature is required; publish it with a key."
        ) from error
    except DocumentError as error:
        raise SignatureError(f"{version}: its signature cannot be read: {error}") from error
    trusted.verify(content, version, files, where=f"{store.uri}/{key}")


def write_signed(path: Path, statement: dict[str, Any], signer: CryptoSigner) -> Path:
    """Write the statement in a DSSE envelope with the signer's signature; the same again gives the same bytes."""
    payload = encode_document("provenance", statement, name=str(path))
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return write_document(path, "dsse_envelope", envelope.to_dict())


def _require_about(statement: Mapping[str, Any], version: str, files: Mapping[str, str], where: str) -> None:
    """A true signature on another version's statement, or on other bytes, vouches for nothing here."""
    found = statement["predicate"]["buildDefinition"]["externalParameters"].get("version")
    if statement["predicateType"] != PREDICATE_TYPE or found != version:
        raise SignatureError(f"{where}: the signed statement is about {found}, not about {version}; do not use it.")
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    for name, sha256 in files.items():
        if subjects.get(name) != sha256:
            raise SignatureError(f"{where}: {name} of {version} is not the file that was signed; do not use it.")


def _public_key(path: str) -> Key:
    key = load_pem(path, load_pem_public_key, "public")
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path}: is not an ed25519 public key; expected one, in PEM.")
    return SSlibKey.from_crypto(key)


def load_pem(path: str, loader: Any, kind: str) -> Any:
    """The `kind` key in the PEM file at `path`. Raises ConfigError, which never repeats what may be a key."""
    if "-----BEGIN" in path:  # the setting holds the key itself instead of its path: do not print it
        raise ConfigError(f"a {kind} key was given where the path of its PEM file is expected.")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the {kind} key cannot be read ({error.strerror}).") from error
    try:
        return loader(content, password=None) if kind == "private" else loader(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path}: holds no {kind} key in PEM without a password.") from error
