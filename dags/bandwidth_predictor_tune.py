"""### Search for better hyperparameters of the DWCP bandwidth predictor

Trains the model many times on a month of telemetry, with a new learning rate, batch size and so on for each trial, and
**proposes** the best configuration. Trial 0 is the default configuration, so you always see what the result has to
beat. Nothing is trained for production here, and nothing changes until a person approves:

1. This run ends with `training/proposed/<name>.yaml` in the registry: values, losses, telemetry, code, seed.
2. Somebody reads it, and runs `bwpredict tune approve <name>`.
3. `bandwidth_predictor_retrain` takes the name in its param `training_config`.

Trials run on the workers of the queue `gpu`, as many at a time as the pool `tune` has slots: leave a GPU free for a
retraining. A killed trial is run again with the same values, and counts once. The study is in the run's work area,
`$BWPREDICT_WORK/<run id>/study/`.
"""

from datetime import timedelta

from airflow.sdk import Param, dag, get_current_context, task
from bwpredict_airflow.default_args import DAG_DEFAULTS, display_name
from bwpredict_airflow.params import HISTORY_MONTHS, month_param, text, training_param
from bwpredict_airflow.step_tasks import plan_run, run_step
from bwpredict_airflow.task_errors import one_line_errors

from bwpredict.config import Settings
from bwpredict.pipeline import steps
from bwpredict.workspace.references import Reference

PARAMS = {
    "month": month_param(Settings().telemetry),
    "history_months": HISTORY_MONTHS,
    "trials": Param(
        20,
        type="integer",
        minimum=1,
        maximum=500,
        title="Trials",
        description="Total number of trainings; the first uses the default configuration.",
        section="Search",
    ),
    "pruner": Param(
        "median",
        enum=["median", "hyperband", "none"],
        type="string",
        title="Pruner",
        description="How to stop poor trials early: if worse than the median at that epoch, by hyperband, or never.",
        section="Search",
    ),
    "study": text(
        "Name",
        "Name of the study and of the configuration it proposes. Empty: tune_ and the time of the run.",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,79})?$",
        section="Search",
    ),
    "epochs": training_param(
        "epochs",
        "Max epochs",
        "Epochs of each trial. Use as many as the retraining: the best learning rate depends on it.",
        section="Budget of a trial",
    ),
    "windows_per_epoch": training_param(
        "windows_per_epoch",
        "Windows for each epoch",
        "Training windows drawn for each epoch of a trial. Use as many as the retraining.",
        section="Budget of a trial",
    ),
    "seed": Param(
        42,
        type="integer",
        minimum=0,
        maximum=2**31 - 1,
        title="Seed",
        description="Seed of the search and of each training. With one slot in the pool, the search is deterministic.",
        section="Budget of a trial",
    ),
}
OF_THE_RUN = ("month", "history_months", "epochs", "windows_per_epoch", "seed")


@task(execution_timeout=timedelta(minutes=5), multiple_outputs=False)
def plan() -> dict[str, str]:
    """Fix what this run is: month, history, budget of a trial, seed, code version. Writes `run.json`.

    Fails at once, without a retry, when a param cannot be used.
    """
    params = get_current_context()["params"]
    return plan_run({name: params[name] for name in OF_THE_RUN}, Settings())


@task(execution_timeout=timedelta(hours=2), multiple_outputs=False)
def snapshot(plan: dict[str, str]) -> dict[str, str]:
    """Copy the telemetry of the run's months into the work area and pin it, as for a retraining.

    Writes `telemetry/` and `snapshot.json`; the proposal names the snapshot's digest.
    """
    return run_step(steps.snapshot, plan)


@task(execution_timeout=timedelta(hours=1), multiple_outputs=False)
def validate(snapshot: dict[str, str]) -> dict[str, str]:
    """Check the telemetry with the Great Expectations suites, as for a retraining.

    **Red here: the telemetry is not fit to train on**.
    """
    return run_step(steps.validate, snapshot)


@task(execution_timeout=timedelta(minutes=5), multiple_outputs=False)
def open_study(profile: dict[str, str]) -> list[dict[str, str]]:
    """Begin the study in the work area: `study/`. Hands the same study on once for each trial.

    Cleared and run again, it resumes the study with its trials.
    """
    params = get_current_context()["params"]
    study = run_step(lambda before: steps.open_study(before, params["study"] or "", params["pruner"]), profile)
    return [study] * params["trials"]


@task(
    queue="gpu",
    pool="tune",
    priority_weight=1,
    weight_rule="absolute",
    execution_timeout=timedelta(hours=2),
    map_index_template="{{ trial_label }}",
)
def trial(study: dict[str, str]) -> str:
    """Ask the study for one configuration, train it, tell the study its validation loss.

    Ends early where the study's pruner says so. Killed or tried again, the same configuration is run once
    more, and counts once. Any retraining that waits for the same workers goes first.
    """
    context = get_current_context()
    with one_line_errors():
        told = steps.trial(Reference(**study), context["params"]["trials"])
    context["trial_label"] = told  # type: ignore[typeddict-unknown-key]
    return told


@task(execution_timeout=timedelta(minutes=15), multiple_outputs=False)
def propose(studies: list[dict[str, str]]) -> dict[str, str]:
    """Write the best configuration beside the default's loss, and put it among the registry's proposals.

    Writes `training_<name>.yaml` here and `training/proposed/<name>.yaml` in the registry. **Nothing uses it**
    until somebody has approved it: `bwpredict tune approve <name>`.
    """
    return run_step(lambda study: steps.propose(study, len(studies)), studies[0])


@dag(
    dag_display_name=display_name("tune"),
    schedule=None,
    dagrun_timeout=timedelta(days=4),
    params=PARAMS,
    **DAG_DEFAULTS,
    description="Telemetry to a proposed training configuration, by trials on all workers",
    doc_md=__doc__,
    tags=["bandwidth", "training"],
)
def bandwidth_predictor_tune() -> None:
    """Build the tasks: telemetry as for a retraining, a study on it, its trials, and the proposal."""
    studies = open_study(validate(snapshot(plan())))  # type: ignore[arg-type]
    # Airflow takes a task's docs from its docstring, but not a mapped task's.
    trials = trial.override(doc_md=trial.function.__doc__).expand(study=studies)
    trials >> propose(studies)  # type: ignore[arg-type]


bandwidth_predictor_tune()
