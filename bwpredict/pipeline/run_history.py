"""The results of an installation's runs, read from their work areas for pages and commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bwpredict.config import RunConfig
from bwpredict.documents import read_document
from bwpredict.errors import ConfigError, DocumentError, ObjectMissingError, WorkAreaError
from bwpredict.gate.decision import shown_outcome
from bwpredict.registry.layout import DECISION_NAME
from bwpredict.validation.result import stopped_sentence
from bwpredict.workspace import areas
from bwpredict.workspace.artifacts import COMPARISON, MODEL_CARD, RUN, VALIDATION, VALIDATION_RESULT, read_past_run

Document = dict[str, Any]

DATA_DOCS = f"{VALIDATION}/data_docs"
_SHOWN = (MODEL_CARD, "training_history.png", "predictions_scatter.png", DECISION_NAME, "comparison.json")
"""Files of a work area that people may look at, beside the Data Docs."""
_SUFFIXES = (".html", ".css", ".png", ".svg")
_OPENED = (MODEL_CARD, f"{DATA_DOCS}/index.html")
"""Where looking at a run begins."""


_READERS = 16
"""Runs that are read at a time: most of it is waiting for the store of the work areas."""
_MOST_KEEPS = 36
"""Runs that are looked at to count those in which production stayed."""
_MOST_ATTEMPTS = 200
"""Runs that are looked at to count those that judged a challenger on the same month."""


@dataclass(frozen=True)
class RunSummary:
    """One run: what it was to do, and the verdict that it came to, if it got there."""

    run: RunConfig
    area: Path
    decision: Document
    validation: Document
    files: tuple[str, ...]
    """Pages that there are to open."""

    @property
    def run_id(self) -> str:
        """Airflow's, or the command's."""
        return self.run.run_id

    @property
    def month(self) -> str:
        """Of the telemetry, YYYY-MM."""
        return self.run.month

    @property
    def version(self) -> str:
        """The challenger's, whether published or not."""
        return self.run.version

    @property
    def created_at(self) -> str:
        """When the run was planned, ISO 8601."""
        return self.run.created_at

    @property
    def comparison(self) -> Document:
        """The figures of challenger and champion; empty where the run did not get there."""
        areas.fetch(self.area, COMPARISON)
        return _document(self.area / COMPARISON, "comparison")

    @property
    def verdict(self) -> str:
        """`promote`, `bootstrap`, `forced`, `keep`, `reject`, `telemetry` (it failed validation), or `unfinished`."""
        if self.decision:
            return shown_outcome(self.decision)
        failed = self.validation and not self.validation["passed"] and not self.run.accept_telemetry
        return "telemetry" if failed else "unfinished"

    @property
    def reason(self) -> str:
        """One sentence."""
        if self.decision:
            return str(self.decision["reason"])
        if self.verdict == "telemetry":
            return stopped_sentence(self.validation)
        return "It has not reached a decision."


def recent_runs(work: Path, limit: int) -> list[RunSummary]:
    """The latest runs, newest first; what is no run's work area, or incomplete, is left out.

    Raises:
        StoreUnreachableError: of the store that shares the work areas.
    """

    def read(area: Path) -> RunSummary | None:
        with suppress(ObjectMissingError, WorkAreaError):  # old work areas expire file by file
            return run_summary(work, area.name)
        return None

    with ThreadPoolExecutor(_READERS) as pool:
        return [run for run in pool.map(read, areas.newest_areas(work, limit)) if run]


def read_comparisons(runs: Sequence[RunSummary]) -> list[Document]:
    """The comparison of each run. Raises StoreUnreachableError."""
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda run: run.comparison, runs))


def keeps_in_a_row(work: Path, run_id: str) -> int:
    """In how many runs of this model in a row, up to this one, production stayed. Dry runs do not count.

    Raises:
        WorkAreaError, StoreUnreachableError: as `run_summary`.
    """
    this, count = run_summary(work, run_id), 0
    for one in recent_runs(work, _MOST_KEEPS):
        if one.run.model_name != this.run.model_name or not one.run.publishes or one.created_at > this.created_at:
            continue
        if one.decision and one.verdict != "keep":
            break
        count += one.verdict == "keep"
    return count


def attempt_at_month(work: Path, run: RunConfig) -> int:
    """The how manyth run of this model it is that judges a challenger on this month; dry runs count.

    Runs that were planned before this one count when they came to a decision. Where work areas have expired, the
    number in a later decision still counts them.

    Raises:
        StoreUnreachableError: of the store that shares the work areas.
    """
    count, latest = 0, 0
    for area in areas.newest_areas(work, _MOST_ATTEMPTS):
        with suppress(ObjectMissingError, WorkAreaError):
            areas.fetch(area, RUN, DECISION_NAME)
            other = read_past_run(area)
            before = (other.created_at, other.run_id) < (run.created_at, run.run_id)
            same = (other.model_name, other.month) == (run.model_name, run.month)
            if before and same and (area / DECISION_NAME).is_file():
                count += 1
                latest = max(latest, _document(area / DECISION_NAME, "decision").get("attempt") or 0)
    return 1 + max(count, latest)


def run_summary(work: Path, run_id: str) -> RunSummary:
    """One run.

    Raises:
        WorkAreaError: there is no such run here.
        StoreUnreachableError: of the store that shares the work areas.
    """
    area = work / run_id
    areas.fetch(area, RUN, DECISION_NAME, VALIDATION_RESULT, *_OPENED)
    with suppress(WorkAreaError):
        run = read_past_run(area)
        if run.run_id == run_id:
            return RunSummary(
                run=run,
                area=area,
                decision=_document(area / DECISION_NAME, "decision"),
                validation=_document(area / VALIDATION_RESULT, "validation"),
                files=tuple(name for name in _OPENED if (area / name).is_file()),
            )
    raise WorkAreaError(
        f"{work}: has no run {run_id!r}: it was never planned, its work area was removed, or it is not on this machine."
    )


def downloadable_file(work: Path, run_id: str, name: str) -> Path:
    """The path of a page or picture of a run that people may look at, and of nothing else.

    Raises:
        ConfigError: not a file that is shown: outside the work area, or no page.
        StoreUnreachableError: of the store that shares the work areas.
    """
    area = (work / run_id).resolve()
    path = (area / name).resolve()
    within = area.parent == work.resolve() and path.is_relative_to(area)
    relative = path.relative_to(area).as_posix() if within else ""
    in_the_docs = relative.startswith(f"{DATA_DOCS}/") and path.suffix in _SUFFIXES
    is_shown = relative in _SHOWN or in_the_docs
    if is_shown:
        areas.fetch(work / run_id, relative)
    if not is_shown or not path.is_file():
        raise ConfigError(f"{name!r} is not a page of the run {run_id!r}.")
    return path


def _document(path: Path, kind: str) -> Document:
    """The document; empty where there is none that is valid. A file that has not changed is validated once."""
    try:
        document: Document = json.loads(path.read_bytes()) if _is_valid(path, kind, path.stat().st_mtime_ns) else {}
    except OSError:
        return {}
    return document


@lru_cache(maxsize=4096)
def _is_valid(path: Path, kind: str, mtime_ns: int) -> bool:  # noqa: ARG001 - part of the key
    try:
        read_document(path, kind)
    except DocumentError:
        return False
    return True
