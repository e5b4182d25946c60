"""The command line's `bwpredict reproduce`: is a published version what its inputs give?"""

from __future__ import annotations

import logging
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bwpredict.cli.registry_option import AsJson, Model, Registry, open_registry, print_json
from bwpredict.core.code_version import code_version
from bwpredict.core.formatting import display_name, number
from bwpredict.store.files import require_local_path

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)


def reproduce(
    version: Annotated[str, typer.Argument(help="A published version, such as v20261101_093000.")],
    registry: Registry = "",
    model: Model = "",
    telemetry: Annotated[
        str, typer.Option(help="Store with the telemetry (default: the one that the version was trained on).")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Empty folder to keep the files in (default: a temporary one).",
            callback=lambda path: path and require_local_path(path),
        ),
    ] = None,
    other_code: Annotated[
        bool, typer.Option("--other-code", help="Train even if the version was made by other code.")
    ] = False,
    tolerance_percent: Annotated[
        float, typer.Option(min=0, help="Mean difference of forecasts, in percent of the MAE, that counts as the same.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a published version again from its snapshot, code and seed, and compare the bytes.

    Exit code 0: the same bytes, or forecasts within --tolerance-percent; 1: it differs; 2: it cannot be trained again.
    """
    from bwpredict.errors import ConfigError
    from bwpredict.pipeline import reproduce as pipeline

    store = open_registry(registry, model)
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output}: is not an empty folder; give another --output.")
    with tempfile.TemporaryDirectory() if output is None else nullcontext(output) as folder:
        found = pipeline.reproduce(
            store, version, Path(folder), code_version=code_version(), other_code=other_code, telemetry=telemetry
        )
    if as_json:
        print_json(found)
    else:
        _show(found)
    if not found["identical"] and not _is_within(found["forecasts"], tolerance_percent):
        raise typer.Exit(1)


def _is_within(forecasts: dict[str, Any], percent: float) -> bool:
    shares = [one["percent_of_mae"] for one in forecasts.values()]
    return percent > 0 and bool(shares) and all(share is not None and share <= percent for share in shares)


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    for name, change in found["changed"].items():
        logger.info("%s: published with %s, now %s", name, change["published"], change["here"])
    for name, same in found["files"].items():
        logger.info("%s: %s", name, "the same bytes" if same else "different bytes")
    if found["identical"]:
        logger.info("%s is reproduced.", found["version"])
    else:
        Console(highlight=False).print(_table(found["forecasts"]))


def _table(forecasts: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("target", "mean difference", "largest", "mean in % of the MAE", box=None, padding=(0, 2, 0, 0))
    for target, one in forecasts.items():
        mean, largest, share = (number(one[key]) for key in ("mean", "largest", "percent_of_mae"))
        table.add_row(f"{display_name(target)}, {one['unit']}", mean, largest, share)
    return table
