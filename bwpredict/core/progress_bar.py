"""Progress bars with the time left, for a person at a terminal: there is none where stderr is a file or a pipe."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

DISABLE = "TQDM_DISABLE"
"""The environment variable, tqdm's own, that turns all bars off."""
_DELAY_SECONDS = 1


def bar(what: str, unit: str, total: int, *, done: int = 0, hidden: bool = False) -> Any:
    """A bar to move by `update(n)`, as a context; it disappears at the end, and never appears for a short task."""
    return tqdm(
        desc=what, unit=f" {unit}", total=total, initial=done, leave=False, dynamic_ncols=True, delay=_DELAY_SECONDS,
        disable=True if hidden or os.environ.get(DISABLE) else None,
    )  # fmt: skip


def track(items: Iterable[T], what: str, unit: str, total: int) -> Iterable[T]:
    """The items, with a bar that moves with each."""
    with bar(what, unit, total) as moving:
        for item in items:
            yield item
            moving.update()


class LogAboveBars(logging.StreamHandler[Any]):
    """Writes log lines above the bars that are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
