"""The command line's `bwpredict policy list | show | suggest`."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bwpredict.cli.registry_option import AsJson, print_json
from bwpredict.config import Settings, SplitConfig, TrainingConfig
from bwpredict.core.code_version import code_version
from bwpredict.errors import ConfigError
from bwpredict.gate.policies import find_policy, policy_names

if TYPE_CHECKING:
    from bwpredict.datasets.windows import Split
    from bwpredict.policy_advice.suggestion import Source

logger = logging.getLogger(__name__)

app = typer.Typer(help="Gate policies: what a challenger must reach.", no_args_is_help=True)


@app.command("list", epilog="Example: bwpredict policy list")
def list_policies(as_json: AsJson = False) -> None:
    """List the built-in policies and those in the folder $BWPREDICT_POLICIES."""
    folder = Settings().policies
    found = {name: find_policy(name, folder) for name in policy_names(folder)}
    rows = [(name, one.policy.version, one.summary, one.origin) for name, one in found.items()]
    if as_json:
        print_json([dict(zip(("name", "version", "summary", "origin"), row, strict=True)) for row in rows])
        return
    table = Table("name", "version", "what it asks", "origin")
    for row in rows:
        table.add_row(*map(str, row))
    Console(highlight=False).print(table)


@app.command(epilog="Example: bwpredict policy show relative")
def show(name: Annotated[str, typer.Argument(help="A name of `policy list`, or the path of a YAML file.")]) -> None:
    """Print a policy with its reasons, and the digest that its decisions record."""
    from bwpredict.gate.decision import policy_digest

    found = find_policy(name, Settings().policies)
    print(found.text.rstrip())
    print(f"\n# {found.origin}, sha256 {policy_digest(found.policy)}")


@app.command(epilog="Example: bwpredict policy suggest --month 2026-10 --output policies")
def suggest(
    telemetry: Annotated[
        str,
        typer.Option(
            "--telemetry",
            "--data-path",
            help="CSV or Parquet, a file or folder; with --month, a store (default: $BWPREDICT_TELEMETRY).",
        ),
    ] = "",
    month: Annotated[str, typer.Option(help="Month (YYYY-MM, UTC) of the telemetry store to measure on.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="File (.yaml), or folder for <name>.yaml (default: the policy is printed)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output file.")] = False,
) -> None:
    """Measure simple forecasts on your telemetry, and write a policy that fits it, with its reasons, for review."""
    from bwpredict.policy_advice.attainable import measure
    from bwpredict.policy_advice.suggestion import suggest as suggested

    if not (telemetry or month):
        raise ConfigError("policy suggest: give --telemetry (a file or folder) or --month (of the telemetry store).")
    if output is not None and output.is_file() and not force:
        raise _exists(output)
    split, source = _of_month(month, telemetry or Settings().telemetry) if month else _of_path(Path(telemetry))
    suggestion = suggested(measure(split), source)
    for sentence in suggestion.sentences:
        logger.info("%s", sentence)
    if output is None:
        print(f"\n{suggestion.text}", end="")
        return
    is_file = output.is_file() or (output.suffix in (".yaml", ".yml") and not output.is_dir())
    path = output if is_file else output / f"{suggestion.policy.name}.yaml"
    _write(path, suggestion.text, force=force)
    logger.info("Saved to: %s. Review it; `--policy %s` then judges by it.", path, path)


def _of_path(data_path: Path) -> tuple[Split, Source]:
    """The windows that `bwpredict train` would use."""
    from bwpredict.pipeline import standalone
    from bwpredict.policy_advice.suggestion import Source

    prepared = standalone.prepare(
        data_path, TrainingConfig(), split_by="calendar", now=datetime.now(UTC), code_version=code_version()
    )
    data = prepared.data
    return prepared.split, Source(data["snapshot_id"], str(data_path), data["start"], data["end"])


def _of_month(month: str, telemetry: str) -> tuple[Split, Source]:
    """The windows that a retraining run of this month would use, by way of a temporary folder."""
    from bwpredict.datasets.frame import load_frame
    from bwpredict.datasets.splitting import choose_split
    from bwpredict.datasets.windows import index_windows
    from bwpredict.policy_advice.suggestion import Source
    from bwpredict.store.factory import open_store
    from bwpredict.telemetry import snapshot
    from bwpredict.telemetry.description import Description
    from bwpredict.telemetry.months import month_window

    start, end = month_window(month)
    training = TrainingConfig()
    with TemporaryDirectory() as folder:
        pinned = snapshot.take_snapshot(open_store(telemetry), "", start, end, Path(folder))
        frame = load_frame(Path(folder) / "telemetry", description=Description.of_snapshot(pinned))
    index = index_windows(frame, training.window_size, training.horizon_minutes)
    origin = f"{telemetry}, {month}"
    return choose_split(index, SplitConfig()), Source(pinned["snapshot_id"], origin, start.isoformat(), end.isoformat())


def _write(path: Path, text: str, *, force: bool) -> None:
    from bwpredict.store.files import write_atomically

    if path.exists() and not force:
        raise _exists(path)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from error


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path}: exists, and may be in use; give another --output, or --force to overwrite it.")
