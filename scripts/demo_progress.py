"""What the demo shows while it runs: each step of the DAG as it starts and ends, and what the product logs."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.listeners import hookimpl
from airflow.sdk.listener import get_listener_manager
from rich.console import Console
from rich.markup import escape

_TOO_FINE = "bwpredict.telemetry.day_copy"  # a line for each day
_STYLES = {"ERROR": "red", "WARNING": "yellow"}


class Progress(logging.Handler):
    """Listens to Airflow's tasks and to the product's loggers; shows both, and keeps the seconds of each task."""

    def __init__(self, console: Console, logs: Path) -> None:
        """Show on `console`; also write each task's log below `logs`, where Airflow's pages look for it."""
        super().__init__(logging.INFO)
        self.console, self.logs = console, logs
        self.seconds: dict[str, dict[str, float]] = {}
        self._began = 0.0
        self._log: Path | None = None
        get_listener_manager().add_listener(self)  # type: ignore[no-untyped-call]
        for name in ("bwpredict", "bwpredict_airflow"):
            logging.getLogger(name).addHandler(self)

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """A task starts."""
        # Airflow would take either signal as the failure of this one task, and go on.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self.console.print(f"  [cyan]{task_instance.task_id}[/]")
        self._log = self.logs.joinpath(
            f"dag_id={task_instance.dag_id}",
            f"run_id={task_instance.run_id}",
            f"task_id={task_instance.task_id}",
            "attempt=1.log",
        )
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        """A task did its part."""
        self._end(task_instance, "[green]done[/]")

    @hookimpl
    def on_task_instance_failed(self, task_instance: Any) -> None:
        """A task failed, and the run with it."""
        self._end(task_instance, "[red]stopped the run[/]")

    def emit(self, record: logging.LogRecord) -> None:
        """Show one log record as indented lines, and write it to the task's log."""
        if self._log:
            with self._log.open("a") as file:
                file.write(json.dumps(_structured(record)) + "\n")
        if record.name != _TOO_FINE:
            for line in record.getMessage().splitlines():
                self.console.print(f"    {escape(line)}", style=_STYLES.get(record.levelname, "dim"), soft_wrap=True)

    def _end(self, task_instance: Any, words: str) -> None:
        seconds = time.monotonic() - self._began
        self.seconds.setdefault(task_instance.run_id, {})[task_instance.task_id] = seconds
        self.console.print(f"    {words} after {seconds:.1f} s")
        self._log = None


@contextmanager
def terminal(log: Path) -> Iterator[Console]:
    """The terminal for this program alone: what Airflow and the libraries print goes to `log`."""
    with os.fdopen(os.dup(1), "w") as screen, log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=screen, highlight=False, width=None if screen.isatty() else 120)
        except BaseException:
            screen.write(f"The demo broke off; see {log}\n")
            raise


def _structured(record: logging.LogRecord) -> dict[str, str]:
    return {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
    }
