"""The command line's `bwpredict exporter`: live forecasts as Prometheus metrics."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bwpredict.config import Settings
from bwpredict.errors import ConfigError

logger = logging.getLogger(__name__)

_PATIENCE_S = 10
"""Given to a read that is under way when the exporter is stopped."""


def exporter(
    models: Annotated[Path, typer.Option(help="Folder that `bwpredict pull` writes.")],
    source: Annotated[
        str,
        typer.Option(help="Mapping file of `bwpredict collect` (.yaml), or a telemetry folder or s3://bucket/prefix."),
    ],
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve /metrics on.")] = "127.0.0.1:9108",
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay the telemetry folder at full speed, then serve its last minute.")
    ] = False,
    state: Annotated[Path | None, typer.Option(help="File that keeps the states across restarts.")] = None,
    require_signature: Annotated[
        bool,
        typer.Option("--require-signature", help="Serve only versions signed with a key of BWPREDICT_TRUSTED_KEYS."),
    ] = False,
    thresholds: Annotated[Path | None, typer.Option(help="YAML file of thresholds: docs/exporter.md.")] = None,
    record: Annotated[Path | None, typer.Option(help="Folder that keeps every forecast as Parquet, by day.")] = None,
) -> None:
    """Forecast all links each minute, and serve the forecasts to Prometheus."""
    from bwpredict.exporter.exporter import Exporter
    from bwpredict.exporter.server import parse_address, serving
    from bwpredict.exporter.sources import FolderSource, open_source
    from bwpredict.exporter.thresholds import load_thresholds
    from bwpredict.provenance.signing import TrustedKeys

    parse_address(listen)
    limits, opened = load_thresholds(thresholds), open_source(source)
    if replay and not isinstance(opened, FolderSource):
        raise ConfigError("--replay needs a telemetry folder; give one as --source.")
    trusted = TrustedKeys.load(Settings().trusted_keys) if require_signature else None
    worker = Exporter(models, opened, state=state, trusted=trusted, record=record)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with serving(worker, limits, listen) as port:
        logger.info("Serving on port %d: /metrics, /-/healthy, /-/ready", port)
        _work(worker.replay if replay else worker.follow, stop)


def _work(run: Callable[[threading.Event], None], stop: threading.Event) -> None:
    """Run in a background thread, so that the process handles signals while it waits for the source."""
    failures: list[Exception] = []

    def guarded() -> None:
        try:
            run(stop)
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that ends the process
            failures.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=guarded, name="exporter", daemon=True)
    thread.start()
    stop.wait()
    thread.join(_PATIENCE_S)
    if failures:
        raise failures[0]
    if thread.is_alive():
        logger.warning(
            "The source does not answer; stopped without waiting for it. The state was last saved before that."
        )
