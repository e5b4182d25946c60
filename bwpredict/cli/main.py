"""The command line: its entry point, and which commands there are. `commands` has a module for each.

Exit code 0: done; 1: a negative verdict (validation, gate, or the guide's target not met);
2: something the user can mend, said in one sentence.
"""

from __future__ import annotations

import logging
import sys

import typer

from bwpredict.cli.commands import collect, policy, registry, tune
from bwpredict.cli.commands.backtest import backtest
from bwpredict.cli.commands.canary import canary
from bwpredict.cli.commands.decide import decide
from bwpredict.cli.commands.exporter import exporter
from bwpredict.cli.commands.forecast import forecast
from bwpredict.cli.commands.generate import generate
from bwpredict.cli.commands.monitor import monitor
from bwpredict.cli.commands.predict import predict
from bwpredict.cli.commands.pull import pull
from bwpredict.cli.commands.retrain import retrain
from bwpredict.cli.commands.train import train
from bwpredict.errors import BwPredictError, Verdict

_EXTRA_OF_MODULE = dict.fromkeys(
    (
        *("apprise", "great_expectations", "matplotlib", "onnxscript", "optuna", "psutil"),
        *("scipy", "sklearn", "torch"),
    ),
    "train",
)
_NOISY = ("botocore", "boto3", "urllib3", "great_expectations", "matplotlib", "fontTools")

app = typer.Typer(
    help="Retrain, judge and publish the DWCP bandwidth predictor.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    *(generate, train, retrain, decide, backtest),
    *(registry.status, registry.promote, registry.rollback, registry.gc, registry.verify),
    *(pull, predict, forecast, exporter, canary, monitor),
):
    app.command()(command)
for name, group in (("tune", tune), ("policy", policy), ("collect", collect)):
    app.add_typer(group.app, name=name)


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and an exit code, never a stack trace."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
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
