"""Open the store that a URI names."""

from __future__ import annotations

from pathlib import Path

from bwpredict.errors import ConfigError
from bwpredict.store.base import Store
from bwpredict.store.local import LocalStore


def open_store(uri: str) -> Store:
    """The store at `uri`: `s3://bucket/prefix`, `file:///folder`, or a folder's path.

    S3's endpoint, region and credentials come from the environment as boto3 reads it
    (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …). A local folder is made at the first write.

    Raises:
        ConfigError: the scheme is unknown or the URI names no bucket.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme == "file":
        return LocalStore(Path(rest if separator else uri))
    if scheme == "s3":
        from bwpredict.store.s3 import S3Store  # boto3 takes half a second to import

        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise ConfigError(f"{uri}: names no bucket; expected s3://bucket/prefix.")
        return S3Store(bucket, prefix.strip("/"))
    raise ConfigError(f"{uri}: unknown scheme {scheme!r}; expected s3://bucket/prefix or a folder's path.")
