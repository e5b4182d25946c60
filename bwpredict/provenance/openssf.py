"""OpenSSF model signatures: a Sigstore bundle over all files of a version, made with an EC key.

openssl ecparam -name prime256v1 -genkey -noout -out openssf.pem   # stays with the publisher
openssl ec -in openssf.pem -pubout -out openssf.pub                # goes to the consumers

Format: https://github.com/ossf/model-signing-spec. `model_signing verify key` (PyPI: model-signing) checks it. The
bundle is written here, not by that library: a retry has to write the same bytes, and its signatures differ each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from securesystemslib.dsse import Envelope
from securesystemslib.signer import Signature  # type: ignore[attr-defined]

from bwpredict.errors import ConfigError
from bwpredict.provenance.signing import PAYLOAD_TYPE, load_pem
from bwpredict.provenance.statement import STATEMENT_TYPE
from bwpredict.registry.layout import MANIFEST_NAME, OPENSSF_NAME
from bwpredict.store.files import write_atomically

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}


def load_openssf_key(path: str) -> ec.EllipticCurvePrivateKey:
    """The EC private key in the PEM file at `path`.

    Raises:
        ConfigError: no such file, or no key on P-256, P-384 or P-521.
    """
    key = load_pem(path, load_pem_private_key, "private")
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise ConfigError(f"{path}: is not an EC key on P-256, P-384 or P-521; expected one, in PEM.")
    return key


def write_openssf(path: Path, version: str, files: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> Path:
    """Write the bundle that signs `files` (name to sha256) of `version`; the same again gives the same bytes."""
    payload = json.dumps(_statement(version, files), sort_keys=True).encode()
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    scheme = ec.ECDSA(_HASHES[key.curve.name], deterministic_signing=True)
    envelope.signatures[""] = Signature("", key.sign(envelope.pae(), scheme).hex())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": envelope.to_dict(),
    }
    write_atomically(path, json.dumps(bundle, indent=2).encode())
    return path


def _statement(version: str, files: Mapping[str, str]) -> dict[str, Any]:
    """The in-toto statement: each file by digest, and the digest of these digests as the subject's."""
    named = sorted(files.items())
    root = hashlib.sha256(b"".join(bytes.fromhex(sha256) for _, sha256 in named)).hexdigest()
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": version, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [MANIFEST_NAME, OPENSSF_NAME],
            },
            "resources": [{"name": name, "algorithm": "sha256", "digest": sha256} for name, sha256 in named],
        },
    }
