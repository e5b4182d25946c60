"""Entry point and commands of the command line; `commands` has a module for each."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from bwpredict import __version__
from bwpredict.cli.commands import collect, policy, push, registry, tune
from bwpredict.cli.commands.backtest import backtest
from bwpredict.cli.commands.canary import canary
from bwpredict.cli.commands.decide import decide
from bwpredict.cli.commands.exporter import exporter
from bwpredict.cli.commands.forecast import forecast
from bwpredict.cli.commands.generate import generate
from bwpredict.cli.commands.import_files import import_files
from bwpredict.cli.commands.judge import judge
from bwpredict.cli.commands.monitor import monitor
from bwpredict.cli.commands.predict import predict
from bwpredict.cli.commands.pull import pull
from bwpredict.cli.commands.reproduce import reproduce
from bwpredict.cli.commands.retrain import retrain
from bwpredict.cli.commands.train import train
from bwpredict.core.progress_bar import DISABLE, LogAboveBars
from bwpredict.errors import BwPredictError, Verdict

_EXTRA_OF_MODULE = dict.fromkeys(
    (
        *("apprise", "great_expectations", "matplotlib", "onnxscript", "optuna", "psutil"),
        *("scipy", "sklearn", "sqlalchemy", "torch"),
    ),
    "train",
) | {"mlflow": "mlflow"}
EXAMPLES = {
    "generate": "Example: bwpredict generate --links 20 --days 30 --start 2026-10-01 --output data/telemetry",
    "import": "Example: bwpredict import probes.csv --mapping mapping.yaml --output data/telemetry",
    "train": "Example: bwpredict train --telemetry telemetry.csv --epochs 5",
    "retrain": "Example: bwpredict retrain --month 2026-10 --dry-run",
    "judge": "Example: bwpredict judge model.onnx --month 2026-10 --dry-run",
    "decide": "Example: bwpredict decide --run latest --policy relative",
    "backtest": "Example: bwpredict backtest --month 2026-10 --months 3 --output backtest",
    "status": "Example: bwpredict status --registry s3://models/bandwidth --json",
    "promote": "Example: bwpredict promote v20261101_093000 --reason 'the canary was better'",
    "rollback": "Example: bwpredict rollback --reason 'wrong on the new links'",
    "gc": "Example: bwpredict gc --keep 6 --dry-run",
    "verify": "Example: bwpredict verify --registry s3://models/bandwidth",
    "canary": "Example: bwpredict canary v20261101_093000 --share 0.1",
    "reproduce": "Example: bwpredict reproduce v20261101_093000 --json",
    "model-card": "Example: bwpredict model-card v20261101_093000 >modelcard.cdx.json",
    "pull": "Example: bwpredict pull --dest /srv/models --watch",
    "predict": "Example: bwpredict predict --output forecasts --first-day 2026-10-31",
    "forecast": "Example: bwpredict forecast 3-7 --models /srv/models",
    "exporter": "Example: bwpredict exporter --models /srv/models --source links.yaml",
    "monitor": "Example: bwpredict monitor --day 2026-10-31 --alert",
}
_NOISY = ("botocore", "boto3", "urllib3", "great_expectations", "matplotlib", "fontTools")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the signature of an option's callback
    if wanted:
        print(f"bwpredict {__version__}")
        raise typer.Exit


EXIT_CODES = """Exit codes:
0: done;
1: a negative verdict (validation, gate, monitor, verify, reproduce, or the guide's target is not met);
2: an error, explained in one sentence;
3: `decide` only: production stays."""

app = typer.Typer(
    help="Forecast network links, and retrain, judge and publish the model that does.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _add(panel: str, *commands: Callable[..., None], **named: Callable[..., None] | typer.Typer) -> None:
    for name, command in ({command.__name__: command for command in commands} | named).items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel, epilog=EXAMPLES.get(name))(command)


_add("Telemetry", generate, collect=collect.app, **{"import": import_files})
_add("Train and judge", train, retrain, judge, decide, backtest, tune=tune.app, policy=policy.app)
_add(
    "Registry",
    *(registry.status, registry.promote, registry.rollback, canary, registry.verify, reproduce, registry.gc),
    push=push.app,
    **{"model-card": registry.model_card},
)
_add("Forecast and monitor", pull, predict, forecast, exporter, monitor)


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and an exit code, never a stack trace."""
    log = sys.stdout
    if "--json" in sys.argv:  # stdout carries only the JSON document
        log, os.environ[DISABLE] = sys.stderr, "1"
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogAboveBars(log)])
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        app()
    except BwPredictError as error:
        print(f"{'' if isinstance(error, Verdict) else 'error: '}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        print(
            f"error: this command needs the package {error.name}, which `pip install 'bwpredict[{extra}]'` brings.",
            file=sys.stderr,
        )
        sys.exit(2)
    except OSError as error:  # a folder that is a file, a full disk, no permission
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(2)
