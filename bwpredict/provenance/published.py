"""Provenance of a version that is in a registry already."""

from __future__ import annotations

from bwpredict.documents import decode_document
from bwpredict.errors import DocumentError, ObjectMissingError, SignatureError
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.registry.layout import ENVELOPE_NAME, OPENSSF_NAME, STATEMENT_NAME, model_key
from bwpredict.registry.versions import read_manifest
from bwpredict.store.base import Store


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
