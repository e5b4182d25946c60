"""S3, and servers that speak it, as object store, through boto3.

A conditional write has three outcomes: landed, surely not (412), unknown (time-out or 5xx: the answer
was lost). botocore's own retries would blur them, since a write that landed and is sent again gets a 412;
so writes are sent by a client without retries, and after an unknown outcome the store reads the
object and looks for its own bytes before it sends again or gives up.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, FlexibleChecksumError, NoCredentialsError
from botocore.exceptions import HTTPClientError as AnswerLostError
from botocore.parsers import ResponseParserError

from bwpredict.errors import (
    ConflictError,
    ObjectCorruptError,
    ObjectMissingError,
    StoreError,
    StoreUnreachableError,
    UnknownOutcomeError,
)
from bwpredict.files import atomic_path, sha256_of
from bwpredict.store.base import ObjectInfo, check_key, explained_os_errors
from bwpredict.store.s3_errors import ADVICE, NO_OBJECT, code_of, reason_of, status_of, without_credentials

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

_WRITE_ATTEMPTS = 4
_BACKOFF_SECONDS = 0.2
_BLOCK_BYTES = 1 << 20


class S3Store:
    """The store under `prefix` of an S3 bucket. Implements `Store`.

    Endpoint, region and credentials come from boto3's standard environment variables and files.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        """Make the clients; nothing is sent. Raises StoreUnreachableError if the environment makes none."""
        self.bucket, self.prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._endpoint = "the endpoint of the environment"
        try:
            self._session = boto3.session.Session()
            self._client = self._new_client(attempts=4)
            self._writer = self._new_client(attempts=1)
        except (BotoCoreError, ValueError) as error:
            raise self._unreachable(error) from error
        self._endpoint = without_credentials(self._client.meta.endpoint_url)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix`, in key order, page by page."""
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._full_key(prefix)
            )
            for page in pages:
                for item in page.get("Contents", []):
                    key = item["Key"][len(self._full_key("")) :]
                    if _is_object(key):
                        yield ObjectInfo(key, item["Size"], item["ETag"].strip('"'))

    def info(self, key: str) -> ObjectInfo:
        """Size and ETag of one object.

        Asks for a listing, not for the object's head: a HEAD has no body, so that a missing bucket
        would look like a missing object.
        """
        check_key(key, self.uri)
        with self._explained(key):
            page = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self._full_key(key), MaxKeys=1)
        found = page.get("Contents", [])
        if not found or found[0]["Key"] != self._full_key(key):
            raise ObjectMissingError(f"{self.uri}/{key}: no such object.")
        return ObjectInfo(key, found[0]["Size"], found[0]["ETag"].strip('"'))

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes and the ETag of one object, from one version of it."""
        check_key(key, self.uri)
        with self._explained(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))
            return answer["Body"].read(), answer["ETag"].strip('"')

    def download(self, key: str, path: Path) -> None:
        """Write one object to `path`, whole or not at all."""
        check_key(key, self.uri)
        with explained_os_errors(path), self._explained(key):
            body = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))["Body"]
            with atomic_path(path) as temporary, temporary.open("wb") as copy:
                for block in body.iter_chunks(_BLOCK_BYTES):
                    copy.write(block)

    def upload(self, path: Path, key: str) -> str:
        """Store the file at `path` under a new key, read it back and compare; return the sha256."""
        check_key(key, self.uri)
        with explained_os_errors(path):
            sha256 = sha256_of(path)
        try:
            self._put(key, path, sha256, if_etag=None)
        except ConflictError as error:
            if self._stored(key)[0] == sha256:
                return sha256
            sentence = f"{self.uri}/{key}: exists with other bytes than {path}; left as it is."
            raise ConflictError(sentence) from error
        if self._stored(key)[0] != sha256:
            raise ObjectCorruptError(f"{self.uri}/{key}: what was stored differs from {path}; upload again.")
        return sha256

    def write(self, key: str, content: bytes, *, if_etag: str | None) -> str:
        """Write by compare-and-swap; return the new ETag."""
        check_key(key, self.uri)
        return self._put(key, content, hashlib.sha256(content).hexdigest(), if_etag=if_etag)

    def arrow_filesystem(self) -> pyarrow.fs.FileSystem:
        """A PyArrow file system rooted at this store, with boto3's endpoint, region and credentials."""
        with self._explained():
            credentials = self._session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            frozen = credentials.get_frozen_credentials()
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

    def _new_client(self, attempts: int) -> S3Client:
        retries = {"mode": "standard", "total_max_attempts": attempts}
        config = Config(retries=retries, connect_timeout=5, read_timeout=60)  # type: ignore[arg-type]
        return self._session.client("s3", config=config)

    def _full_key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _put(self, key: str, body: bytes | Path, sha256: str, *, if_etag: str | None) -> str:
        """Send a conditional write until its outcome is known; return the ETag.

        Raises ConflictError only if no earlier attempt can have landed.
        """
        unsure = False
        for attempt in range(_WRITE_ATTEMPTS):
            time.sleep(_BACKOFF_SECONDS * attempt)
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

    def _put_once(self, key: str, body: bytes | Path, if_etag: str | None) -> str:
        """One conditional PUT, its answer told apart: landed, lost, send again, unknown, refused."""
        where = f"{self.uri}/{key}"
        try:
            with _opened(body) as data:
                return self._send(key, data, if_etag)
        except ClientError as error:
            code, status = code_of(error), status_of(error)
            if status == 412 or (if_etag is not None and code in NO_OBJECT):
                raise ConflictError(f"{where}: another writer came first; read it again.") from error
            if status == 409:
                raise _SendAgainError from error
            if status >= 500 and code not in ADVICE:
                raise UnknownOutcomeError(f"{where}: the server answered {code} to a write.") from error
            raise self._unreachable(error) from error
        except (AnswerLostError, ResponseParserError) as error:
            raise UnknownOutcomeError(f"{where}: the answer to a write was lost ({type(error).__name__}).") from error
        except BotoCoreError as error:
            raise self._unreachable(error) from error

    def _send(self, key: str, data: bytes | IO[bytes], if_etag: str | None) -> str:
        full_key = self._full_key(key)
        if if_etag is None:
            answer = self._writer.put_object(
                Bucket=self.bucket, Key=full_key, Body=data, ChecksumAlgorithm="SHA256", IfNoneMatch="*"
            )
        else:
            answer = self._writer.put_object(
                Bucket=self.bucket, Key=full_key, Body=data, ChecksumAlgorithm="SHA256", IfMatch=f'"{if_etag}"'
            )
        return answer["ETag"].strip('"')

    def _stored(self, key: str) -> tuple[str, str]:
        """The sha256 and the ETag of the stored bytes, read back."""
        with self._explained(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=self._full_key(key))
            digest = hashlib.sha256()
            for block in answer["Body"].iter_chunks(_BLOCK_BYTES):
                digest.update(block)
            return digest.hexdigest(), answer["ETag"].strip('"')

    def _stored_after_doubt(self, key: str) -> tuple[str | None, str | None]:
        try:
            return self._stored(key)
        except ObjectMissingError:
            return None, None
        except StoreError as error:
            sentence = f"{self.uri}/{key}: the answer to a write was lost, and reading it again failed: {error}"
            raise UnknownOutcomeError(sentence) from error

    @contextmanager
    def _explained(self, key: str = "") -> Iterator[None]:
        """Turn boto3's errors into ours, with bucket, endpoint and what to check."""
        where = f"{self.uri}/{key}"
        try:
            yield
        except ClientError as error:
            if key and code_of(error) in NO_OBJECT:
                raise ObjectMissingError(f"{where}: no such object.") from error
            raise self._unreachable(error) from error
        except FlexibleChecksumError as error:
            raise ObjectCorruptError(f"{where}: the bytes do not match the stored checksum.") from error
        except BotoCoreError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> StoreUnreachableError:
        return StoreUnreachableError(f"s3 bucket {self.bucket!r} at {self._endpoint}: {reason_of(error)}.")


class _SendAgainError(Exception):
    """The server asked to send the same write again (409 ConditionalRequestConflict)."""


@contextmanager
def _opened(body: bytes | Path) -> Iterator[bytes | IO[bytes]]:
    if isinstance(body, bytes):
        yield body
    else:
        with body.open("rb") as file:
            yield file


def _is_object(key: str) -> bool:
    return not key.endswith("/") and not any(part.startswith(".") for part in key.split("/"))
