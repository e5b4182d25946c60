"""The time series of monitored days in the registry's store: a document for each, `monitoring/days/<day>.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

from bwpredict.core.formatting import display_name
from bwpredict.documents import decode_document
from bwpredict.errors import ObjectMissingError
from bwpredict.store.base import Store

Document = dict[str, Any]

FOLDER = "monitoring/days/"
_READERS = 8
"""Requests at a time."""


def day_key(day: date) -> str:
    """Where the document of a day is in the store."""
    return f"{FOLDER}{day.isoformat()}.json"


def read_day(store: Store, day: date) -> Document | None:
    """The document of that day, or None. Raises DocumentError."""
    key = day_key(day)
    try:
        return decode_document("monitoring_day", store.read(key)[0], name=f"{store.uri}/{key}")
    except ObjectMissingError:
        return None


def test_name(test: Mapping[str, Any]) -> str:
    """One of a document's `tests` in words: "skill of RTT"."""
    kind, _, target = test["id"].partition(".")
    return f"{kind} of {display_name(target)}"


def read_series(store: Store, last: int | None = None) -> Iterator[Document]:
    """The time series: the documents of all days, or of the `last` ones, oldest first."""
    keys = list(store.keys(FOLDER))
    shown = keys if last is None else keys[max(0, len(keys) - last) :]
    with ThreadPoolExecutor(_READERS) as pool:
        read = pool.map(lambda key: store.read(key)[0], shown)
        for key, content in zip(shown, read, strict=True):
            yield decode_document("monitoring_day", content, name=f"{store.uri}/{key}")
