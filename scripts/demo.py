"""The main job, end to end: four months of telemetry, four runs of the real DAG, and the result of each.

Run by `make demo`, in the environment of `airflow-env.sh`. Exit code 1 if a run did not end as it must.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo_progress import Progress, terminal
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bwpredict.config import Settings
from bwpredict.documents import read_document
from bwpredict.registry.layout import DECISION_NAME, LINK_SERIES_NAME
from bwpredict.workspace.artifacts import COMPARISON, MODEL_CARD, PUBLICATION, VALIDATION, VALIDATION_RESULT

if TYPE_CHECKING:
    from airflow.sdk import DAG

LINKS, SEED = 8, 42
FIRST_DAY, DAYS = "2026-08-01", 122
UPGRADED_FROM = "2026-09-01"
BROKEN_DAYS = ["2026-11-12", "2026-11-13"]
TRAINING = {"epochs": 6, "windows_per_epoch": 8_000, "seed": SEED}
"""Less than the default of the DAG, so that three trainings fit into minutes on two cores."""

SHOWN_CHECKS = ("champion_mean", "champion_error", "skill", "stream_champion_mean", "stream_champion_error")
"""Of the checks that passed, those that the report shows; the model card has all."""

CLOSE_CALLS = ("promote", "keep")
"""Outcomes that depend on the last digits of a training, which differ from one kind of processor to another."""

PICTURE = "forecasts.png"

ROOT, AIRFLOW = Path(os.environ["ROOT"]), Path(os.environ["AIRFLOW_HOME"])
SETTINGS = Settings()


@dataclass
class Run:
    """One run of the DAG: what it is for, how its tasks ended, and how long each took."""

    month: str
    what: str
    outcome: str
    """How its decision must end; empty: validation stops it before there is one."""
    params: dict[str, Any] = field(default_factory=dict)
    run_id: str = ""
    states: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def area(self) -> Path:
        """The run's work area."""
        return SETTINGS.work / self.run_id


RUNS = (
    Run("2026-08", "nothing is in production: the first model", "bootstrap"),
    Run("2026-09", "links were upgraded and rerouted: the challenger replaces the champion", "promote"),
    Run(
        "2026-10",
        "nothing has changed, and the policy asks for a better model: production stays",
        "keep",
        {"gate_overrides": {"champion_rule": "superior"}},
    ),
    Run("2026-11", "a faulty collector broke two days: validation stops the run", ""),
)


def main() -> int:
    """Generate, run the months, report; the exit code is 0 if each run ended as expected."""
    started = time.monotonic()
    with terminal(AIRFLOW / "demo.log") as console:
        progress = Progress(console, AIRFLOW / "logs")
        generated = generate(console)
        for number, run in enumerate(RUNS, 1):
            console.print(f"\n[bold]Run {number} of {len(RUNS)}: {run.month}[/], {run.what}")
            run_dag(load_dag(), run, progress)  # of each run its own: `DAG.test` keeps the params in the DAG
        report(console, generated, time.monotonic() - started)
        return complain(console)


def generate(console: Console) -> float:
    """Write the months of telemetry, the last one broken; return the seconds it took."""
    from bwpredict.simulation import data_faults
    from bwpredict.simulation.fleet import FleetConfig
    from bwpredict.simulation.writer import write_partitioned

    console.print(f"\n[bold]Telemetry[/]: {LINKS} links, one row a minute, {DAYS} days from {FIRST_DAY}")
    started = time.monotonic()
    folder = write_partitioned(
        FleetConfig(
            links=LINKS,
            days=DAYS,
            start=FIRST_DAY,
            seed=SEED,
            regime="drifting",
            drift_from=UPGRADED_FROM,
            gap_share=0.005,
            duplicate_share=0.001,
        ),
        Path(SETTINGS.telemetry),
    )
    data_faults.inject(folder, "impossible_values", BROKEN_DAYS)
    seconds = time.monotonic() - started
    console.print(f"  written to {shown(folder)} in {seconds:.1f} s")
    return seconds


def load_dag() -> DAG:
    """The DAG from the DAG folder. Its tasks do not retry here: a demo that breaks says so at once."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    dag = bag.dags["bandwidth_predictor_retrain"]
    for task in dag.tasks:
        task.retries = 0
    dag.deadline = None  # With one, Airflow 3.3.2 breaks off at the good end of a run without a scheduler.
    return dag


def run_dag(dag: DAG, run: Run, progress: Progress) -> None:
    """One run, as `airflow dags test` does it: every task in this process, no scheduler."""
    ended = dag.test(run_conf={"month": run.month, **TRAINING, **run.params})
    run.run_id = ended.run_id
    run.states = {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}
    run.seconds = progress.seconds[run.run_id]
    write_note(ended.id)


def write_note(number: int) -> None:
    """The verdict as the run's note, which a scheduler writes by itself."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from bwpredict_airflow import listeners

    with create_session() as session:
        ended = session.get(DagRun, number)
        if ended is not None:
            listeners.write_note(ended, session)


def report(console: Console, generated: float, total: float) -> None:
    """The decisions with their checks, production, where everything is, the time it took, and what to type next."""
    for number, run in enumerate(RUNS, 1):
        report_run(console, number, run)
    report_production(console)
    report_files(console)
    report_seconds(console, generated, total)
    report_forecasts(console)


def report_run(console: Console, number: int, run: Run) -> None:
    """How one run ended, in its own documents' words."""
    from bwpredict.gate import decision as gate_decision
    from bwpredict.validation import result as validation_result

    console.print(f"\n[bold]Run {number}: {run.month}[/], {run.what}")
    if (run.area / DECISION_NAME).exists():
        decision = read_document(run.area / DECISION_NAME, "decision")
        console.print(f"  {escape(decision['reason'])}")
        table = Table("verdict", "check", "value", "threshold", box=None, padding=(0, 2), header_style="dim")
        for check, (verdict, *cells) in zip(decision["checks"], gate_decision.check_rows(decision), strict=True):
            if check["verdict"] in ("fail", "open") or check["id"].startswith(SHOWN_CHECKS):
                colour = {"pass": "green", "fail": "red"}.get(verdict, "yellow")
                table.add_row(f"[{colour}]{verdict}[/]", *map(escape, cells))
        console.print(table)
    elif (run.area / VALIDATION_RESULT).exists():
        result = read_document(run.area / VALIDATION_RESULT, "validation")
        for line in validation_result.summary(result).splitlines():
            console.print(f"  {escape(line)}", soft_wrap=True)
    else:
        console.print(f"  [red]ended without a verdict[/]: {run.states}")


def report_production(console: Console) -> None:
    """What is served now, and what came before."""
    from bwpredict.registry.history import read_history
    from bwpredict.store.factory import open_store

    console.print("\n[bold]In production[/]")
    moves = read_history(open_store(SETTINGS.registry))
    for move in moves:
        now = "serving now" if move is moves[-1] else ""
        console.print(f"  {move.version}  {move.kind:<10} month {move.month}  {now}")
    if not moves:
        console.print("  nothing")


def report_files(console: Console) -> None:
    """Where each run's model card, picture of forecasts, intervals and truth, and Data Docs are."""
    console.print("\n[bold]To look at[/]")
    for run in RUNS:
        for what, name in (
            ("model card", MODEL_CARD),
            ("forecasts", "link_forecasts_throughput_mbps.png"),
            ("Data Docs", f"{VALIDATION}/data_docs/index.html"),
        ):
            if (run.area / name).exists():
                console.print(f"  {run.month}  {what:<10}  {shown(run.area / name)}", soft_wrap=True)


def report_seconds(console: Console, generated: float, total: float) -> None:
    """The seconds of each step, also as JSON for the benchmarks."""
    names = list(dict.fromkeys(name for run in RUNS for name in run.seconds))
    table = Table("seconds", *names, "total", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for run in RUNS:
        cells = (f"{run.seconds[name]:.1f}" if name in run.seconds else "" for name in names)
        table.add_row(run.month, *cells, f"{sum(run.seconds.values()):.1f}")
    console.print()
    console.print(table)
    console.print(f"Telemetry {generated:.1f} s; all in all {total:.0f} s.")
    seconds = {"generate": generated, "total": total, **{run.month: run.seconds for run in RUNS}}
    (ROOT / "seconds.json").write_text(json.dumps(seconds, indent=2))


def report_forecasts(console: Console) -> None:
    """Draw forecast, interval and truth of two links as the model in production sees them; name what to type next."""
    from bwpredict.evaluation.by_link import read_series
    from bwpredict.reports.forecast_plots import link_forecasts

    target, ranks = "throughput_mbps", ("best", "worst")
    published = [run for run in RUNS if (run.area / PUBLICATION).exists()]
    link = "<node_id>-<peer_id>"
    if published:
        area = published[-1].area
        series, bounds = read_series(area / LINK_SERIES_NAME)
        links = read_document(area / COMPARISON, "comparison")["links"][target]
        picture = link_forecasts(ROOT / PICTURE, target, series, {rank: links[rank] for rank in ranks}, bounds)
        link = "{node_id}-{peer_id}".format_map(links["best"])
        console.print(
            f"\n[bold]{shown(picture)}[/] shows throughput of the best and the worst link on the last test day of"
            f" {published[-1].month}:\n  the actual values, the forecast of 15 minutes before, and its 90 % interval",
            soft_wrap=True,
        )
    stores = f"--registry {shown(Path(SETTINGS.registry))}"
    console.print(
        "\n[bold]Next[/]\n"
        f"  make up ROOT={shown(ROOT)}     these runs in Airflow's own pages, and the form to start another\n"
        f"  .venv/bin/bwpredict forecast {escape(link)} {stores} --source {shown(Path(SETTINGS.telemetry))}\n"
        f"  .venv/bin/bwpredict status {stores}",
        soft_wrap=True,
    )


def complain(console: Console) -> int:
    """Report each run with an unexpected outcome; 0 if there is none."""
    wrong = []
    for run in RUNS:
        path = run.area / DECISION_NAME
        decision = read_document(path, "decision") if path.exists() else {"outcome": "", "reason": ""}
        outcome, expected = decision["outcome"], run.outcome or "stopped by validation"
        ended = f"{run.month}: expected {expected}, but the outcome is {outcome or 'missing'}. {decision['reason']}"
        if outcome and outcome != run.outcome and run.outcome in CLOSE_CALLS:
            console.print(f"{ended} Training may differ slightly between processors.")
        elif outcome != run.outcome:
            wrong.append(ended)
        elif outcome and "failed" in run.states.values():
            wrong.append(f"{run.month}: tasks failed: {run.states}")
        elif not outcome and run.states.get("validate") != "failed":
            wrong.append(f"{run.month}: expected a run stopped by validation, but the tasks are {run.states}")
    for sentence in wrong:
        console.print(f"[red]Unexpected:[/] {sentence}")
    return 1 if wrong else 0


def shown(path: Path) -> str:
    """The path as it is typed in the repository's folder."""
    return str(path.relative_to(ROOT.parent)) if path.is_relative_to(ROOT.parent) else str(path)


if __name__ == "__main__":
    sys.exit(main())
