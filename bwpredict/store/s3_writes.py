"""Conditional writes to S3, their outcome settled, and the check that the server has them at all.

A conditional write has three outcomes: landed, surely not (412), unknown (time-out or 5xx: the answer
was lost). Retries inside boto3 would blur them, since a write that landed and is sent again gets a 412; so the
client makes none, and after an unknown outcome the object is read again, to look for our own bytes
before the write is sent again or given up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.exceptions import HTTPClientError as AnswerLostError
from botocore.parsers import ResponseParserError

from bwpredict.errors import ConflictError, ObjectMissingError, StoreError, StoreUnreachableError, UnknownOutcomeError
from bwpredict.store.s3_errors import NO_OBJECT, error_code, http_status, is_retryable, translate_error

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

logger = logging.getLogger(__name__)

ATTEMPTS = 5
PROBE_NAME = ".conditional-write-probe"
"""Name of the empty object that the probe leaves in the store; hidden, so it is not an object of the product."""

_NO_ETAG = "0" * 32
_proven: set[tuple[str, str]] = set()
"""Endpoints and buckets that this process has seen refuse writes whose condition did not hold."""


@dataclass(frozen=True)
class ConditionalWrites:
    """The writing half of an `S3Store`; `stored` reads sha256 and ETag of a key back."""

    client: S3Client
    bucket: str
    prefix: str
    uri: str
    endpoint: str
    backoff_seconds: float
    stored: Callable[[str], tuple[str, str]]

    def put(self, key: str, body: bytes | Path, sha256: str, *, if_etag: str | None) -> str:
        """Send a conditional write until its outcome is known; return the ETag.

        Raises:
            ConflictError: it surely lost; no earlier attempt can have landed.
            UnknownOutcomeError: the answer was lost, and reading does not settle it.
            StoreUnreachableError: nothing was written.
        """
        self._require_conditions()
        unsure = False
        for attempt in range(ATTEMPTS):
            time.sleep(self.backoff_seconds * attempt)
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
            f"{self.uri}/{key}: the server at {self.endpoint} gave no clear answer to a write; "
            "it may or may not have landed. Read the object before deciding."
        )

    def _require_conditions(self) -> None:
        """Refuse a server that ignores conditions: there, two publishers could both win. Asks once a process.

        Raises StoreUnreachableError.
        """
        if (self.endpoint, self.bucket) in _proven:
            return
        created = self._probe_lands(None)
        if (created and self._probe_lands(None)) or self._probe_lands(_NO_ETAG):
            raise StoreUnreachableError(
                f"s3 bucket {self.bucket!r} at {self.endpoint}: the server ignores the conditions of writes "
                "(If-Match, If-None-Match), so two publishers could both win; nothing was written, use a server "
                "that has them."
            )
        _proven.add((self.endpoint, self.bucket))

    def _probe_lands(self, if_etag: str | None) -> bool:
        """Whether the server takes a write to the probe under this condition."""
        for attempt in range(ATTEMPTS):
            time.sleep(self.backoff_seconds * attempt)
            try:
                self._put_once(PROBE_NAME, b"", if_etag)
            except (ConflictError, _SendAgainError):
                return False
            except UnknownOutcomeError:
                continue
            return True
        raise StoreUnreachableError(
            f"s3 bucket {self.bucket!r} at {self.endpoint}: the server gave no clear answer to whether it has "
            "conditional writes; nothing was written, run again."
        )

    def _put_once(self, key: str, body: bytes | Path, if_etag: str | None) -> str:
        """One conditional PUT, its answer told apart: landed, lost, send again, unknown, refused."""
        where = f"{self.uri}/{key}"
        try:
            with _opened(body) as data:
                return self._send(key, data, if_etag)
        except ClientError as error:
            code, status = error_code(error), http_status(error)
            if status == 412 or (if_etag is not None and code in NO_OBJECT):
                raise ConflictError(f"{where}: another writer came first; read it again.") from error
            if status == 409:
                raise _SendAgainError from error
            if is_retryable(error):
                raise UnknownOutcomeError(f"{where}: the server answered {code} to a write.") from error
            raise self._refused(error) from error
        except (AnswerLostError, ResponseParserError) as error:
            raise UnknownOutcomeError(f"{where}: the answer to a write was lost ({type(error).__name__}).") from error
        except BotoCoreError as error:
            raise self._refused(error) from error

    def _send(self, key: str, data: bytes | IO[bytes], if_etag: str | None) -> str:
        full_key = f"{self.prefix}/{key}" if self.prefix else key
        if if_etag is None:
            answer = self.client.put_object(
                Bucket=self.bucket, Key=full_key, Body=data, ChecksumAlgorithm="SHA256", IfNoneMatch="*"
            )
        else:
            answer = self.client.put_object(
                Bucket=self.bucket, Key=full_key, Body=data, ChecksumAlgorithm="SHA256", IfMatch=f'"{if_etag}"'
            )
        return answer["ETag"].strip('"')

    def _stored_after_doubt(self, key: str) -> tuple[str | None, str | None]:
        try:
            return self.stored(key)
        except ObjectMissingError:
            return None, None
        except StoreError as error:
            sentence = f"{self.uri}/{key}: the answer to a write was lost, and reading it again failed: {error}"
            raise UnknownOutcomeError(sentence) from error

    def _refused(self, error: Exception) -> StoreError:
        return translate_error(error, where="", bucket=self.bucket, endpoint=self.endpoint)


class _SendAgainError(Exception):
    """The server asked to send the same write again (409 ConditionalRequestConflict)."""


@contextmanager
def _opened(body: bytes | Path) -> Iterator[bytes | IO[bytes]]:
    if isinstance(body, bytes):
        yield body
    else:
        with body.open("rb") as file:
            yield file
