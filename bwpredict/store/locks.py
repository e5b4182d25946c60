"""Locks between processes that the kernel gives back when their holder ends, however it ends.

They are `flock` locks on files, so a process that was killed never leaves one behind, and whether a lock
is held says whether its holder lives. NFS from version 4 honours them between machines.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


def hold(path: Path) -> IO[bytes]:
    """Wait for the lock on `path`; the open file that is returned holds it until it is closed (`with` does that)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except BaseException:
        file.close()
        raise
    return file


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock on `path`."""
    if not path.exists():
        return False
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
