"""What went wrong with S3, in words: the reason and what to check, never a secret."""

from __future__ import annotations

from urllib.parse import urlsplit

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NotConnectedError
from botocore.exceptions import HTTPClientError as AnswerLostError
from botocore.parsers import ResponseParserError

from bwpredict.errors import ObjectCorruptError, ObjectMissingError, StoreError, StoreUnreachableError

NO_OBJECT = ("NoSuchKey", "404")

ADVICE = {
    "NoSuchBucket": "there is no such bucket; create it or correct the name",
    "InvalidAccessKeyId": "the access key is unknown; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    "InvalidToken": "the session token is not valid; check AWS_SESSION_TOKEN",
    "ExpiredToken": "the session token has expired; get a new one",
    "AccessDenied": "access is denied; check the credentials and the bucket's policy",
    "403": "access is denied; check the credentials and the bucket's policy",
    "PermanentRedirect": "the bucket is in another region; check AWS_DEFAULT_REGION",
    "RequestTimeTooSkewed": "the clocks of this machine and of the server differ too much; set both by NTP",
    "XMinioStorageFull": "the server is out of space; free some and run again",
    "QuotaExceeded": "the quota is used up; raise it or free some space, and run again",
    "NotImplemented": "the server has no conditional writes (If-Match), which publishing needs; use one that has",
}
"""Error codes that mean the same for every request: what they say and what to do."""


_PASSING = ("SlowDown", "Throttling", "TooManyRequests", "RequestTimeout", "429")
_CUT_SHORT = (NotConnectedError, AnswerLostError, ResponseParserError, IncompleteReadError, FlexibleChecksumError)


def is_retryable(error: Exception) -> bool:
    """Whether the same request may succeed a moment later: the network, a busy server, an answer cut short."""
    if isinstance(error, ClientError):
        code = error_code(error)
        return code not in ADVICE and (http_status(error) >= 500 or code in _PASSING)
    return isinstance(error, _CUT_SHORT)


def translate_error(error: Exception, *, where: str, bucket: str, endpoint: str) -> StoreError:
    """What boto3 raised while the object at `where` was read, or the bucket if it is empty, as an error of ours."""
    if where and isinstance(error, ClientError) and error_code(error) in NO_OBJECT:
        return ObjectMissingError(f"{where}: no such object.")
    if isinstance(error, FlexibleChecksumError):
        return ObjectCorruptError(f"{where}: the bytes do not match the stored checksum; restore the object.")
    if isinstance(error, IncompleteReadError):
        return ObjectCorruptError(f"{where}: the server repeatedly sent only a part of it; restore the object.")
    return StoreUnreachableError(f"s3 bucket {bucket!r} at {endpoint}: {error_reason(error)}.")


def error_code(error: ClientError) -> str:
    """The server's error code, such as `NoSuchKey`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def http_status(error: ClientError) -> int:
    """The HTTP status of the answer; 0 if there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_reason(error: Exception) -> str:
    """Why boto3 or the server refused, without a full stop at the end."""
    if isinstance(error, ClientError):
        answer = f"the server answered {error_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
        return ADVICE.get(error_code(error), answer.rstrip(". "))
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "no complete credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, NotConnectedError | AnswerLostError):
        return f"no answer ({type(error).__name__}); check AWS_ENDPOINT_URL and that the server is up"
    return " ".join(str(error).split()).rstrip(".")


def without_credentials(url: str) -> str:
    """The URL less any `user:password@` in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
