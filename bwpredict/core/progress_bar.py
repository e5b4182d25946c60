"""Progress bars with the time left, for a person at a terminal; none if stderr is a file or a pipe."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from typing import Any, Self, TypeVar

T = TypeVar("T")

DISABLE = "TQDM_DISABLE"
"""The environment variable, tqdm's own, that turns all bars off."""
_DELAY_SECONDS = 1


class HiddenBar:
    """Takes the place of a bar that is not shown, for example if tqdm is not installed."""

    n = 0

    def __enter__(self) -> Self:
        """Show nothing."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""

    def update(self, count: int = 1) -> None:
        """Move by this many units."""
        self.n += count

    def set_postfix_str(self, text: str) -> None:
        """Ignore the text."""


def bar(what: str, unit: str, total: int, *, done: int = 0, hidden: bool = False) -> Any:
    """A bar to move by `update(n)`, as a context; it disappears at the end, and never appears for a short task."""
    if hidden or not _wanted():
        return HiddenBar()
    from tqdm import tqdm

    return tqdm(
        desc=what, unit=f" {unit}", total=total, initial=done, leave=False, dynamic_ncols=True, delay=_DELAY_SECONDS
    )


def track(items: Iterable[T], what: str, unit: str, total: int) -> Iterable[T]:
    """The items, with a bar that moves with each."""
    with bar(what, unit, total) as moving:
        for item in items:
            yield item
            moving.update()


def _wanted() -> bool:
    return not os.environ.get(DISABLE) and sys.stderr.isatty()


class LogAboveBars(logging.StreamHandler[Any]):
    """Writes log lines above the bars that are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if not _wanted():
            super().emit(record)
            return
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
