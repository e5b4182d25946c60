"""The exporter's work: samples from the source, minute by minute, through the stream onto the board."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bwpredict import schema
from bwpredict.errors import BwPredictError, ConfigError, ModelError
from bwpredict.exporter.board import REREAD_MINUTES, Board, Figures
from bwpredict.exporter.health import Health
from bwpredict.exporter.recorder import Recorder
from bwpredict.exporter.sources import FolderSource, Minute, Source, minutes_of
from bwpredict.provenance.signing import TrustedKeys
from bwpredict.serving.stream import Stream

MINUTE = schema.CADENCE_SECONDS
HISTORY_SECONDS = 86_400
"""Read at the start, and after the source did not answer: by then the longest moving average has faded."""
CHUNK_ROWS = 200_000
"""Of history, read at once."""
SHORTEST_CHUNK_SECONDS, LONGEST_CHUNK_SECONDS = 120, 6 * 3600
AFTER_MINUTE_SECONDS = 5
"""Time that a minute's samples are given to arrive."""
SAVE_EVERY_SECONDS = 600
FORGET_AFTER_SECONDS = 7 * 86_400
"""A link without a sample for longer is gone for good; one that comes back is new."""

logger = logging.getLogger(__name__)


class Exporter:
    """Follows all links of a source. One thread works; any number may look at `figures` and `health`."""

    def __init__(
        self,
        models: Path,
        source: Source,
        *,
        state: Path | None = None,
        trusted: TrustedKeys | None = None,
        record: Path | None = None,
    ) -> None:
        """Load the model, and the state where one was saved; nothing is read from the source yet.

        Args:
            models: folder that `bwpredict pull` keeps.
            source: where the samples come from.
            state: file that keeps the state over a restart; None: none is kept.
            trusted: keys of which one must have signed each version; None: no signature is asked for.
            record: folder that keeps every forecast as Parquet; None: none is kept.

        Raises:
            BwPredictError: the model cannot be served.
        """
        self.health, self.figures = Health(), Figures([])
        self.ready = threading.Event()
        """Set as soon as the history is read."""
        self._source, self._state = source, state
        self._stream, self._board = Stream(models, trusted=trusted), Board()
        self._recorder = None if record is None else Recorder(record)
        self._stop = threading.Event()
        self._read_to = 0
        self._counts: dict[int, int] = {}
        """Rows of the minutes that are read again, when they were read last."""
        self._saved_at = time.monotonic()
        self._told: dict[str, str] = {}
        if state is not None:
            self._restore(state)
        self.health.tell_age(lambda: math.nan)
        self._publish(self._board.newest_at)

    def follow(self, stop: threading.Event, *, now: Callable[[], float] = time.time) -> None:
        """Work each minute until `stop` is set, then save the state.

        Raises:
            ConfigError: the mapping names what the source does not have.
        """
        self._stop = stop
        self._check_source()
        self.health.tell_age(lambda: now() - self.figures.newest_at if self.figures.newest_at else math.nan)
        while not stop.is_set():
            self.tick(now())
            stop.wait(MINUTE - (now() - AFTER_MINUTE_SECONDS) % MINUTE)
        self.save()

    def replay(self, stop: threading.Event) -> None:
        """Go through all of a telemetry folder without waiting, and keep the last minute's figures.

        Raises:
            BwPredictError: the folder cannot be read.
        """
        assert isinstance(self._source, FolderSource)  # noqa: S101 - the command line sees to it
        self._stop = stop
        first, past = self._source.span()
        self._read(first // MINUTE * MINUTE, past)
        self.health.source_up.set(1)
        self.health.tell_age(lambda: 0)
        self._publish(self._board.newest_at)
        self._set_ready()
        logger.info("Replayed %s to the end; its last minute is served.", self._source.where)
        stop.wait()
        self.save()

    def tick(self, now: float) -> None:
        """Take the model and the samples that are new, as of `now`."""
        self._reload()
        past = int(now) // MINUTE * MINUTE + MINUTE
        if self._read_to > past:  # the clock was ahead, and has come back
            self._read_to = self._board.newest_at
        first = max(self._read_to - REREAD_MINUTES * MINUTE, past - HISTORY_SECONDS)
        try:
            self._read(first, past)
            self.health.source_up.set(1)
            self._tell("source", "", "The source answers again.")
            self._set_ready()
        except BwPredictError as error:
            self._counts.clear()  # the stream may not have processed all minutes that were read
            self.health.source_up.set(0)
            self._tell("source", f"{error} Earlier forecasts are served for five minutes; it retries each minute.", "")
        self._publish(past - MINUTE)
        if time.monotonic() - self._saved_at > SAVE_EVERY_SECONDS:
            self.forget()
            self.save()

    def forget(self) -> None:
        """Drop links without a sample for `FORGET_AFTER_SECONDS`: their states take memory, and they count as mute.

        Time is that of the newest sample: a clock that jumps ahead, or a source that does not answer, loses no link.
        """
        before = self._board.newest_at - FORGET_AFTER_SECONDS
        self._board.forget(before)
        if forgotten := self._stream.forget(before):
            logger.info(
                "%d links without a sample for %d days are forgotten.", forgotten, FORGET_AFTER_SECONDS // 86_400
            )

    def save(self) -> None:
        """Write the state and the recorded forecasts, where these are configured."""
        self._saved_at = time.monotonic()
        if self._recorder is not None:
            self._try_to_write("record", "The forecasts are recorded again.", self._recorder.flush)
        if (state := self._state) is not None:
            self._try_to_write("state", "The state is saved again.", lambda: self._stream.snapshot(state))
            self._try_to_write("board", "", lambda: self._board.save(board_path(state)))

    def _try_to_write(self, subject: str, recovery: str, write: Callable[[], object]) -> None:
        try:
            write()
            self._tell(subject, "", recovery)
        except OSError as error:
            self._tell(subject, f"{error.filename or subject}: cannot be written ({error.strerror or error}).", "")

    def _check_source(self) -> None:
        """A source that does not answer is not an error: it is asked again each minute."""
        try:
            self._source.check()
        except ConfigError:
            raise
        except BwPredictError as error:
            logger.debug("%s", error)

    def _read(self, first: int, past: int) -> None:
        """Step through the minutes of [first, past), some at a time."""
        begin = first
        while begin < past and not self._stop.is_set():
            end = min(begin + self._chunk_seconds(), past)
            began = time.perf_counter()
            table = self._source.read_day(begin, end)
            self.health.read_seconds.set(time.perf_counter() - began)
            for minute in minutes_of(table, self._counts):
                self._step(minute)
                if self._stop.is_set():
                    return
            begin = self._read_to = end
            oldest = end - REREAD_MINUTES * MINUTE
            self._counts = {at: count for at, count in self._counts.items() if at >= oldest}

    def _chunk_seconds(self) -> int:
        """Few links: hours at once; many: a bounded number of rows."""
        minutes = CHUNK_ROWS // max(1, len(self._board.row)) if self._board.row else 0
        return min(max(MINUTE * minutes, SHORTEST_CHUNK_SECONDS), LONGEST_CHUNK_SECONDS)

    def _step(self, minute: Minute) -> None:
        fresh, late = self._board.fresh(minute.links, minute.at)
        self.health.late.inc(late)
        if not fresh.any():
            return
        began = time.perf_counter()
        links = [link for link, new in zip(minute.links, fresh.tolist(), strict=True) if new]
        samples = minute.values[fresh]
        answer = self._stream.step(links, samples, columns=schema.FEATURES, at=minute.at)
        if answer.late:  # the saved stream is ahead of the saved board
            taken = set(answer.links)
            samples = samples[[link in taken for link in links]]
        if answer.links:
            self.health.judge(self._board.take(answer, samples, minute.at))
            self.health.invalid.inc(minute.invalid)
            if (recorder := self._recorder) is not None:
                self._try_to_write("record", "", lambda: recorder.add(minute.at, answer))
        self.health.step_seconds.set(time.perf_counter() - began)

    def _reload(self) -> None:
        try:
            if self._stream.reload():
                logger.info("%s is warming up; %s still serves.", self._stream.warming or "It", self._stream.version)
            self.health.model_accepted.set(1)
            self._tell("model", "", "")
        except (BwPredictError, OSError) as error:
            self.health.model_accepted.set(0)
            self._tell("model", f"{error} {self._stream.version} still serves.", "")

    def _publish(self, clock: int) -> None:
        self.figures = self._board.figures(clock)
        self.health.tell_links(self.figures)
        before = self._told.get("version")
        self._told["version"] = version = self._stream.version
        if before not in (None, version):
            logger.info("%s serves.", version)
        self.health.tell_models(version, self._stream.warming)

    def _set_ready(self) -> None:
        if not self._stop.is_set():
            self.ready.set()
            self.health.ready.set(1)

    def _restore(self, path: Path) -> None:
        if not path.is_file():
            return
        try:
            self._stream.restore(path)
            self._board = Board.load(board_path(path))
            self._read_to = self._board.newest_at
        except ModelError as error:
            logger.warning("%s", error)

    def _tell(self, subject: str, trouble: str, recovery: str) -> None:
        """Log a trouble once, and when it is over."""
        before = self._told.get(subject, "")
        self._told[subject] = trouble
        if trouble and trouble != before:
            logger.warning("%s", trouble)
        elif before and not trouble and recovery:
            logger.info("%s", recovery)


def board_path(state: Path) -> Path:
    """The file beside the stream's state that holds the figures."""
    return state.with_name(f"{state.name}.figures")
