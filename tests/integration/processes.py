"""Services as local processes: started, restarted when they die (as Docker does), killed, stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil


@dataclass
class Service:
    """One long-running process with its children. `user` as `subprocess.Popen` takes it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    wanted: bool = False
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def log(self) -> Path:
        return self.folder / "output.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.lock, self.log.open("ab") as log:
            self.wanted, self.starts = True, self.starts + 1
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,
            )

    def revive(self) -> None:
        """`restart: unless-stopped`."""
        with self.lock:
            if self.wanted and not self.is_running:
                self.start()

    def kill(self) -> None:
        """SIGKILL for the process and all that it started, as for a container. It will be revived."""
        with self.lock:
            for process in self._family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if self.process:
                self.process.wait(10)

    def stop(self, patience_seconds: float = 15) -> None:
        """As `docker stop`: the signal, some time, SIGKILL."""
        with self.lock:
            self.wanted = False
            family = self._family()
            if self.is_running and self.process:
                self.process.send_signal(self.stop_signal)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(patience_seconds)
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if self.process:
                self.process.wait(10)

    def _family(self) -> list[psutil.Process]:
        if self.process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.process.pid)
            return [*parent.children(recursive=True), parent]
        return []


class Supervisor(threading.Thread):
    """Revives what died, until it is told to end."""

    def __init__(self, services: Sequence[Service]) -> None:
        super().__init__(daemon=True)
        self._services, self._end = services, threading.Event()

    def run(self) -> None:
        while not self._end.wait(1):
            for service in self._services:
                service.revive()

    def end(self) -> None:
        self._end.set()
        self.join()


def run_once(command: Sequence[str], environment: Mapping[str, str], user: str | None = None) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(
        command, env=environment, cwd="/", user=user, group=user, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)[:200]}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def wait_for(what: str, is_so: Callable[[], object], seconds: float = 240) -> None:
    """Until `is_so()` is true. Fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}"
        time.sleep(0.5)


def ordinary_user() -> str | None:
    """PostgreSQL refuses to run as root."""
    return "postgres" if os.geteuid() == 0 else None
