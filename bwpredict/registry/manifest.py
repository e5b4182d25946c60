"""The registry's own documents carry a checksum of themselves, so that one flipped bit is seen by whoever reads them.

Files of a version are checked against MANIFEST.json; MANIFEST.json, production.json and the records of the
history have nothing above them. A document without a checksum, as earlier versions wrote it, is accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bwpredict.documents import decode_document, encode_document
from bwpredict.errors import ObjectCorruptError

_FIELD = "checksum"


def write_manifest(kind: str, document: Mapping[str, Any], *, name: str) -> bytes:
    """The checked document with its checksum, as UTF-8 JSON. Raises DocumentError."""
    return encode_document(kind, {**document, _FIELD: _checksum(document)}, name=name)


def delete_manifest(kind: str, content: bytes, *, name: str) -> dict[str, Any]:
    """The checked document in `content`, without its checksum.

    Raises:
        DocumentError: not a document of this kind.
        ObjectCorruptError: the document is not the one that was sealed.
    """
    document = decode_document(kind, content, name=name)
    expected = document.pop(_FIELD, None)
    if expected is not None and expected != _checksum(document):
        raise ObjectCorruptError(f"{name}: does not match its own checksum; restore it from a copy.")
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
