"""The command line's `bwpredict backtest`: was retraining each month worth it?"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from bwpredict.cli import options
from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.config import RunConfig, Settings, TrainingConfig, load
from bwpredict.core.code_version import code_version
from bwpredict.core.formatting import display_name, number
from bwpredict.store.files import require_local_path

logger = logging.getLogger(__name__)


@options.training_options(leave_out=("warm_start",))
def backtest(
    training: dict[str, Any],
    month: Annotated[str, typer.Option(help="Last month to forecast, YYYY-MM (UTC).")],
    output: Annotated[
        Path,
        typer.Option(help="Folder for the document, the plot and each month's model.", callback=require_local_path),
    ],
    months: Annotated[int, typer.Option(help="Number of months to forecast; the month before them is read too.")] = 3,
    telemetry: Annotated[str, typer.Option(help="Store with the telemetry (default: $BWPREDICT_TELEMETRY).")] = "",
    as_json: AsJson = False,
) -> None:
    """Show whether retraining each month was worth it: a frozen model against retrained ones, month by month."""
    from bwpredict.pipeline import backtest as backtests

    now = datetime.now(UTC)
    values = {
        "run_id": "backtest",
        "version": f"{now:v%Y%m%d_%H%M%S}",
        "month": month,
        "telemetry": telemetry or Settings().telemetry,
        "registry": "",
        "code_version": code_version(),
        "created_at": now.isoformat(timespec="seconds"),
        "training": load(TrainingConfig, training, origin="parameters"),
    }
    document = backtests.backtest(load(RunConfig, values, origin="parameters"), months, output)
    if as_json:
        print_json(document)
        return
    Console(highlight=False).print(_table(document))
    for figures in document["overall"].values():
        logger.info("%s", figures["conclusion"])
    logger.info("Saved to: %s, %s", output / backtests.DOCUMENT, output / backtests.PLOT)


def _table(document: dict[str, Any]) -> Table:
    """A row for each month and target."""
    title = f"Retrained monthly against frozen (trained on {document['frozen_month']}); below 0 retraining is better"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False, padding=0)
    columns = ("Month", "Target", "Skill\nfrozen", "Skill\nretrained", "MAE against\nfrozen %", "95 % interval")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place > 1 else "left")
    for row in document["months"]:
        for target, figures in row["per_target"].items():
            skills = (number(figures[f"{name}_skill"], 3) for name in ("frozen", "retrained"))
            interval = f"{number(figures['low'], 2)} to {number(figures['high'], 2)}"
            table.add_row(row["month"], display_name(target), *skills, number(figures["percent"], 2), interval)
    return table
