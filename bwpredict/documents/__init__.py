"""JSON documents: written atomically, and checked against their schema on both sides.

The schemas are beside this file, one `<name>.schema.json` for each kind of document.
"""

from __future__ import annotations

import json
import math
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.retrieval import to_cached_resource

from bwpredict.core.limits import DOCUMENT_BYTES
from bwpredict.errors import DocumentError
from bwpredict.store.files import write_atomically


def write_document(path: Path, kind: str, document: dict[str, Any]) -> Path:
    """Check `document` against the schema of `kind` and write it to `path`, atomically.

    Raises:
        DocumentError: the document does not match, or holds NaN or infinity (not JSON).
    """
    write_atomically(path, encode_document(kind, document, name=str(path)))
    return path


def read_document(path: Path, kind: str) -> dict[str, Any]:
    """Read and check the document at `path`.

    Raises:
        DocumentError: no such file, too large, not JSON, or not a document of this kind.
    """
    try:
        if (size := path.stat().st_size) > DOCUMENT_BYTES:
            raise DocumentError(
                f"{path}: has {size:,} bytes; expected a {kind} document of {DOCUMENT_BYTES:,} at most."
            )
        content = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror}); expected a {kind} document.") from error
    return decode_document(kind, content, name=str(path))


def encode_document(kind: str, document: dict[str, Any], *, name: str) -> bytes:
    """The checked document as UTF-8 JSON; error messages show `name`."""
    try:
        content = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
    except ValueError as error:
        raise DocumentError(f"{name}: a {kind} document must not hold NaN or infinity.") from error
    _check(kind, json.loads(content), name)
    return content.encode() + b"\n"


def decode_document(kind: str, content: bytes, *, name: str) -> dict[str, Any]:
    """The checked document in `content`; error messages show `name`."""
    if len(content) > DOCUMENT_BYTES:
        raise DocumentError(
            f"{name}: has {len(content):,} bytes; expected a {kind} document of {DOCUMENT_BYTES:,} at most."
        )
    try:
        document: dict[str, Any] = json.loads(
            content, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{name}: not a JSON document ({error}); expected a {kind} document.") from error
    _check(kind, document, name)
    return document


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """1e999 is JSON, but no number here."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name, readers in other languages may take the other one."""
    if len(document := dict(pairs)) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return document


def _check(kind: str, document: Any, name: str) -> None:
    error = next(iter(_validator(kind).iter_errors(document)), None)
    if error is not None:
        raise DocumentError(f"{name}: not a valid {kind} document: at {error.json_path}: {error.message[:300]}.")


@cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    registry: Registry[Any] = Registry(retrieve=_schema)  # type: ignore[call-arg]
    return jsonschema.Draft202012Validator({"$ref": f"{kind}.schema.json"}, registry=registry)


@to_cached_resource()
def _schema(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
