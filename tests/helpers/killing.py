"""Really kill a process in the middle of what it does to a store, after any operation."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from bwpredict.store.base import Store

OPERATIONS = ("list", "keys", "times", "info", "read", "download", "upload", "write", "delete", "remove_unfinished")
CHANGING = ("upload", "write", "delete", "remove_unfinished")
"""Operations that change the store."""


class Recorded:
    """A store that writes down every operation once it is done, and then calls `after` with its number from 0."""

    def __init__(self, store: Store, after: Callable[[int], None] = lambda _number: None) -> None:
        self.store, self.after = store, after
        self.done: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.store, name)
        if name not in OPERATIONS:
            return value

        def operate(*arguments: Any, **options: Any) -> Any:
            try:
                result = value(*arguments, **options)
                return iter(list(result)) if name in ("list", "keys", "times") else result
            finally:
                self.done.append((name, str(arguments[-1] if name == "upload" else arguments[0])))
                self.after(len(self.done) - 1)

        return operate


def operations_of(store: Store, action: Callable[[Any], object]) -> list[tuple[str, str]]:
    """What `action` does to the store: name and key of each operation, in order."""
    recorded = Recorded(store)
    action(recorded)
    return recorded.done


def killed_after(number: int, open_: Callable[[], Store], action: Callable[[Any], object]) -> None:
    """Run `action` in a process of its own that is killed with SIGKILL after its operation `number`.

    A fork, since a fresh interpreter would take a second to import what is imported here already.
    """

    def kill(current: int) -> None:
        if current == number:
            os.kill(os.getpid(), signal.SIGKILL)

    process = os.fork()
    if not process:
        try:
            action(Recorded(open_(), kill))
        except BaseException:  # noqa: BLE001 - a child must never run on in pytest
            traceback.print_exc()
        os._exit(1)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status), "the process ended on its own"
    assert os.WTERMSIG(status) == signal.SIGKILL
