"""S3, and servers that speak it, as object store, through boto3.

What only reads is asked again while the failure may pass, body and all: boto3's own retries end where the body of an
answer begins.

A conditional write has three outcomes: landed, surely not (412), unknown (time-out or 5xx: the answer
was lost). Retries inside boto3 would blur them, since a write that landed and is sent again gets a 412; so the
client makes none, and after an unknown outcome the object is read again, to look for our own bytes
before the write is sent again or given up.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.exceptions import HTTPClientError as AnswerLostError
from botocore.parsers import ResponseParserError

from bwpredict.core.limits import OBJECT_BYTES
from bwpredict.errors import (
    ConflictError,
    ObjectCorruptError,
    ObjectMissingError,
    StoreError,
    StoreUnreachableError,
    UnknownOutcomeError,
)
from bwpredict.store.base import ObjectInfo, check_key, check_size, translate_os_errors
from bwpredict.store.files import atomic_path, sha256_of
from bwpredict.store.s3_errors import (
    NO_OBJECT,
    error_code,
    http_status,
    is_retryable,
    translate_error,
    without_credentials,
)

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef, PutObjectRequestTypeDef

logger = logging.getLogger(__name__)

ATTEMPTS = 5
PROBE_NAME = ".conditional-write-probe"
"""Name of the empty object that the probe leaves in the store; hidden, so it is not an object of the product."""

_NO_ETAG = "0" * 32
_proven: set[tuple[str, str]] = set()
"""Endpoints and buckets that this process has seen refuse writes whose condition did not hold."""
_BLOCK_BYTES = 1 << 20
_Answer = TypeVar("_Answer")


class S3Store:
    """The store under `prefix` of an S3 bucket. Implements `Store`.

    Endpoint, region and credentials come from boto3's standard environment variables and files.
    """

    def __init__(
        self, bucket: str, prefix: str = "", *, timeout_seconds: float = 60.0, backoff_seconds: float = 0.2
    ) -> None:
        """Make the client; nothing is sent. Raises StoreUnreachableError if the environment makes none.

        An answer may be silent for `timeout_seconds`; a request is sent again after `backoff_seconds`,
        and each time more.
        """
        self.bucket, self.prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._endpoint = "the endpoint of the environment"
        self._backoff_seconds = backoff_seconds
        try:
            self._session = boto3.session.Session()
            self._client = self._session.client("s3", config=_config(timeout_seconds))
        except (BotoCoreError, ValueError) as error:
            raise self._translated(error) from error
        self._endpoint = without_credentials(self._client.meta.endpoint_url)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order: one request for each 1,000."""
        start = len(self._full_key(""))
        return (_info(item, item["Key"][start:]) for item in self._listed(prefix))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with `prefix`, in order; costs the same as `list`."""
        return (info.key for info in self.list(prefix))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders right under `prefix`: one request for each 1,000."""
        start = len(self._full_key(prefix))
        names = (
            item["Prefix"][start:-1]
            for page in self._pages(prefix, Delimiter="/")
            for item in page.get("CommonPrefixes", [])
        )
        return tuple(sorted((name for name in names if not name.startswith(".")), key=str.encode))

    def times(self, prefix: str = "") -> Iterator[tuple[str, datetime]]:
        """The keys that start with `prefix`, in order, each with its last change; costs the same as `list`."""
        start = len(self._full_key(""))
        return ((item["Key"][start:], item["LastModified"]) for item in self._listed(prefix))

    def info(self, key: str) -> ObjectInfo:
        """Size and ETag of one object.

        Asks for a listing, not for the object's head: a HEAD has no body, so that a missing bucket
        would look like a missing object.
        """
        check_key(key, self.uri)
        page = self._asked(
            key, lambda: self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._full_key(key), MaxKeys=1)
        )
        found = page.get("Contents", [])
        if not found or found[0]["Key"] != self._full_key(key):
            raise ObjectMissingError(f"{self.uri}/{key}: no such object.")
        return _info(found[0], key)

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes and the ETag of one object, from one version of it."""
        check_key(key, self.uri)

        def ask() -> tuple[bytes, str]:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))
            check_size(key, self.uri, answer["ContentLength"])
            return answer["Body"].read(), answer["ETag"].strip('"')

        return self._asked(key, ask)

    def download(self, key: str, path: Path, max_bytes: int = OBJECT_BYTES) -> None:
        """Write one object to `path`, atomically."""
        check_key(key, self.uri)

        def ask() -> None:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))
            check_size(key, self.uri, answer["ContentLength"], max_bytes)
            body = answer["Body"]
            with atomic_path(path) as temporary, temporary.open("wb") as copy:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    copy.write(block)

        with translate_os_errors(path):
            self._asked(key, ask)

    def upload(self, path: Path, key: str) -> str:
        """Store the file at `path` under a new key, read it back and compare; return the sha256."""
        check_key(key, self.uri)
        with translate_os_errors(path):
            sha256 = sha256_of(path)
        try:
            self._put(key, path, sha256, if_etag=None)
        except ConflictError as error:
            if self._sha256_after_conflict(key, error) == sha256:
                return sha256
            sentence = f"{self.uri}/{key}: exists with other bytes than {path}; it was not changed."
            raise ConflictError(sentence) from error
        if self._stored(key)[0] != sha256:
            raise ObjectCorruptError(f"{self.uri}/{key}: what was stored differs from {path}; upload again.")
        return sha256

    def write(self, key: str, content: bytes, *, if_etag: str | None) -> str:
        """Write by compare-and-swap; return the new ETag."""
        check_key(key, self.uri)
        return self._put(key, content, hashlib.sha256(content).hexdigest(), if_etag=if_etag)

    def delete(self, key: str) -> None:
        """Remove one object; asked again until the server says that it is gone."""
        check_key(key, self.uri)
        self._asked(key, lambda: self._client.delete_object(Bucket=self.bucket, Key=self._full_key(key)))

    def remove_unfinished(self, before: datetime) -> int:
        """Nothing: a PUT that was broken off leaves no trace on S3."""
        del before
        return 0

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """A PyArrow file system rooted at this store, with boto3's endpoint, region and credentials."""
        frozen = self._asked("", self._credentials)
        endpoint = urlsplit(self._endpoint)
        on_aws = (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        base = pyarrow.fs.S3FileSystem(
            access_key=frozen.access_key,
            secret_key=frozen.secret_key,
            session_token=frozen.token,
            region=self._session.region_name or "us-east-1",
            scheme=endpoint.scheme,
            endpoint_override=None if on_aws else endpoint.netloc,
        )
        return pyarrow.fs.SubTreeFileSystem(f"{self.bucket}/{self.prefix}".rstrip("/"), base)

    def _credentials(self) -> ReadOnlyCredentials:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials.get_frozen_credentials()

    def _full_key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _listed(self, prefix: str) -> Iterator[ObjectTypeDef]:
        """What the server lists under the prefix, without folders and hidden names."""
        for page in self._pages(prefix):
            for item in page.get("Contents", []):
                if _is_object(item["Key"][len(self._full_key("")) :]):
                    yield item

    def _pages(self, prefix: str, **options: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
        ask = partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=self._full_key(prefix), **options)
        page = self._asked("", ask)
        yield page
        while page.get("IsTruncated"):
            page = self._asked("", partial(ask, ContinuationToken=page["NextContinuationToken"]))
            yield page

    def _stored(self, key: str) -> tuple[str, str]:
        """The sha256 and the ETag of the stored bytes, read back."""

        def ask() -> tuple[str, str]:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))
            digest = hashlib.sha256()
            for block in answer["Body"].iter_chunks(_BLOCK_BYTES):
                digest.update(block)
            return digest.hexdigest(), answer["ETag"].strip('"')

        return self._asked(key, ask)

    def _sha256_after_conflict(self, key: str, conflict: ConflictError) -> str:
        """What is there instead; if it has gone meanwhile, the conflict stands."""
        try:
            return self._stored(key)[0]
        except ObjectMissingError as error:
            raise conflict from error

    def _put(self, key: str, body: bytes | Path, sha256: str, *, if_etag: str | None) -> str:
        """Send a conditional write until its outcome is known; return the ETag.

        Raises:
            ConflictError: it surely lost; no earlier attempt can have landed.
            UnknownOutcomeError: the answer was lost, and reading does not settle it.
            StoreUnreachableError: nothing was written.
        """
        self._require_conditions()
        unsure = False
        for attempt in range(ATTEMPTS):
            time.sleep(self._backoff_seconds * attempt)
            try:
                return self._put_once(key, body, if_etag)
            except _SendAgainError:
                continue
            except UnknownOutcomeError as error:
                logger.warning("%s Reading it again.", error)
                unsure = True
            except ConflictError:
                if not unsure:
                    raise
            stored_sha256, etag = self._stored_after_doubt(key)
            if stored_sha256 == sha256 and etag is not None:
                return etag
            if etag != if_etag:
                break
        raise UnknownOutcomeError(
            f"{self.uri}/{key}: the server at {self._endpoint} gave no clear answer to a write; "
            "it may or may not have landed. Read the object before deciding."
        )

    def _require_conditions(self) -> None:
        """Refuse a server that ignores conditions: there, two publishers could both win. Asks once a process.

        Raises StoreUnreachableError.
        """
        if (self._endpoint, self.bucket) in _proven:
            return
        created = self._probe_lands(None)
        if (created and self._probe_lands(None)) or self._probe_lands(_NO_ETAG):
            raise StoreUnreachableError(
                f"s3 bucket {self.bucket!r} at {self._endpoint}: the server ignores the conditions of writes "
                "(If-Match, If-None-Match), so two publishers could both win; nothing was written, use a server "
                "that has them."
            )
        _proven.add((self._endpoint, self.bucket))

    def _probe_lands(self, if_etag: str | None) -> bool:
        """Whether the server takes a write to the probe under this condition."""
        for attempt in range(ATTEMPTS):
            time.sleep(self._backoff_seconds * attempt)
            try:
                self._put_once(PROBE_NAME, b"", if_etag)
            except (ConflictError, _SendAgainError):
                return False
            except UnknownOutcomeError:
                continue
            return True
        raise StoreUnreachableError(
            f"s3 bucket {self.bucket!r} at {self._endpoint}: the server gave no clear answer to whether it has "
            "conditional writes; nothing was written, run again."
        )

    def _put_once(self, key: str, body: bytes | Path, if_etag: str | None) -> str:
        """One conditional PUT, its answer told apart: landed, lost, send again, unknown, refused."""
        where = f"{self.uri}/{key}"
        try:
            with _opened(body) as data:
                request: PutObjectRequestTypeDef = {"Bucket": self.bucket, "Key": self._full_key(key), "Body": data}
                request["ChecksumAlgorithm"] = "SHA256"
                if if_etag is None:
                    request["IfNoneMatch"] = "*"
                else:
                    request["IfMatch"] = f'"{if_etag}"'
                return self._client.put_object(**request)["ETag"].strip('"')
        except ClientError as error:
            code, status = error_code(error), http_status(error)
            if status == 412 or (if_etag is not None and code in NO_OBJECT):
                raise ConflictError(f"{where}: another writer came first; read it again.") from error
            if status == 409:
                raise _SendAgainError from error
            if is_retryable(error):
                raise UnknownOutcomeError(f"{where}: the server answered {code} to a write.") from error
            raise self._translated(error) from error
        except (AnswerLostError, ResponseParserError) as error:
            raise UnknownOutcomeError(f"{where}: the answer to a write was lost ({type(error).__name__}).") from error
        except BotoCoreError as error:
            raise self._translated(error) from error

    def _stored_after_doubt(self, key: str) -> tuple[str | None, str | None]:
        try:
            return self._stored(key)
        except ObjectMissingError:
            return None, None
        except StoreError as error:
            sentence = f"{self.uri}/{key}: the answer to a write was lost, and reading it again failed: {error}"
            raise UnknownOutcomeError(sentence) from error

    def _translated(self, error: Exception, where: str = "") -> StoreError:
        return translate_error(error, where=where, bucket=self.bucket, endpoint=self._endpoint)

    def _asked(self, key: str, ask: Callable[[], _Answer]) -> _Answer:
        """The answer to a request that may be sent twice; `key` names the object that it is about, if one.

        Raises:
            ObjectMissingError, ObjectCorruptError, StoreUnreachableError: with bucket, endpoint and what to check.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return ask()
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                if attempt == ATTEMPTS or not is_retryable(error):
                    raise self._translated(error, where=f"{self.uri}/{key}" if key else "") from error
            time.sleep(self._backoff_seconds * attempt)
        raise AssertionError("the last attempt returns or raises")


class _SendAgainError(Exception):
    """The server asked to send the same write again (409 ConditionalRequestConflict)."""


@contextmanager
def _opened(body: bytes | Path) -> Iterator[bytes | IO[bytes]]:
    if isinstance(body, bytes):
        yield body
    else:
        with body.open("rb") as file:
            yield file


def _config(timeout_seconds: float) -> Config:
    """Every request is sent once; what is sent again, and after which look, is decided above."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=min(5.0, timeout_seconds),
        read_timeout=timeout_seconds,
    )


def _info(item: ObjectTypeDef, key: str) -> ObjectInfo:
    return ObjectInfo(key, item["Size"], item["ETag"].strip('"'))


def _is_object(key: str) -> bool:
    return not key.endswith("/") and not any(part.startswith(".") for part in key.split("/"))
