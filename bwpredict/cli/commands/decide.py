"""The command line's `bwpredict decide`: a past run's decision under another policy."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.config import Settings
from bwpredict.errors import ConfigError, WorkAreaError
from bwpredict.gate.policies import find_policy
from bwpredict.workspace import areas

if TYPE_CHECKING:
    from bwpredict.pipeline.decision import Replay

logger = logging.getLogger(__name__)

LATEST = "latest"
_MOST_RUNS = 36
_EXIT_CODES = {"reject": 1, "keep": 3}
"""Of outcomes that publish nothing."""


def decide(
    policy: Annotated[str, typer.Option(help="Gate policy: a name of `policy list`, or a YAML file.")],
    run: Annotated[
        str, typer.Option(help="A past run: its id under $BWPREDICT_WORK, the path of its work area, or latest.")
    ] = LATEST,
    output: Annotated[
        Path | None, typer.Option(help="File for the new decision (default: it is only printed).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a past run's decision under another policy, without training or publishing.

    Exit code 0: the model would be published; 1: it would be rejected; 3: production would stay.
    """
    from bwpredict.documents import write_document
    from bwpredict.pipeline.decision import replay

    settings = Settings()
    found = find_policy(policy, settings.policies)
    if output is not None and output.exists():
        raise ConfigError(f"{output}: exists; give another --output.")
    area = _area(run, settings.work)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    replayed = replay(area, found.policy, policy_origin=found.origin, decided_at=now)
    if output is not None:
        write_document(output, "decision", replayed.after)
    if as_json:
        print_json(replayed.after)
    else:
        _show(replayed)
        if output is not None:
            logger.info("Saved to: %s", output)
    if not replayed.after["passed"]:
        raise typer.Exit(_EXIT_CODES[replayed.after["outcome"]])


def _show(replayed: Replay) -> None:
    for when, decision in (("then", replayed.before), ("now", replayed.after)):
        by = decision["policy"]
        logger.info("%s, by %s version %s: %s", when, by["name"], by["version"], decision["reason"])
    _print(list(replayed.changes()))


def _area(run: str, work: Path) -> Path:
    if run == LATEST:
        return _latest_area(work)
    areas.fetch(work / run)
    for area in (work / run, Path(run)):
        if area.is_dir():
            return area
    raise WorkAreaError(f"{run}: expected the id of a run in {work}, the path of its work area, or {LATEST}.")


def _latest_area(work: Path) -> Path:
    """The newest run that came to a decision."""
    from bwpredict.pipeline.run_history import recent_runs

    decided = [summary for summary in recent_runs(work, _MOST_RUNS) if summary.decision]
    if not decided:
        raise WorkAreaError(f"{work}: none of the latest {_MOST_RUNS} runs came to a decision; give --run.")
    areas.fetch(work / decided[0].run_id)
    return work / decided[0].run_id


def _print(changes: list[tuple[str, str, str, str]]) -> None:
    if not changes:
        logger.info("Every check has the same verdict under both.")
        return
    table = Table(title="Checks whose verdict differs", box=box.SIMPLE_HEAD, title_justify="left", padding=0)
    for name in ("check", "then", "now", "what is asked"):
        table.add_column(name, overflow="fold")
    for row in changes:
        table.add_row(*row)
    Console(highlight=False).print(table)
