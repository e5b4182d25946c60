"""Where a study's trials are kept: Optuna's journal in a file, written under a lock that no death leaves behind.

Optuna's own file locks are files that a killed process leaves, and are broken by a time-out of 30 s.
"""

from __future__ import annotations

from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.storages.journal._file import BaseJournalFileLock

JOURNAL = "journal.log"


def open_journal(folder: Path) -> JournalStorage:
    """The journal of the study in `folder`."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL
    return JournalStorage(JournalFileBackend(str(path), _Lock(path)))


def create_in_journal(folder: Path, name: str) -> None:
    """Begin the journal with an empty study, unless it has begun."""
    journal = open_journal(folder)
    optuna.create_study(study_name=name, storage=journal, direction="minimize", load_if_exists=True)


class _Lock(BaseJournalFileLock):
    """Held while Optuna appends to the journal."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = FileLock(journal.with_suffix(".lock"), poll_interval=0.01)

    def acquire(self) -> bool:
        """Wait for the lock; then take away what a process that died in the middle of a line left of it."""
        self._lock.acquire()
        _drop_torn_line(self._journal)
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


def _drop_torn_line(journal: Path) -> None:
    with journal.open("rb+") as file:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            whole = journal.read_bytes().rfind(b"\n") + 1
            file.truncate(whole)
