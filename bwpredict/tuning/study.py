"""The search for hyperparameters: a study of trainings, each judged by its validation loss.

A study is a folder that any number of processes may work on at once, and that survives the death of any of them:

```
study.json       what is searched on which telemetry; the same for all workers, never changed
journal.log      Optuna's journal of the trials
trials/<n>.lock  held by the process that runs trial n, so a trial that nobody holds has died
```

Trial 0 is the configuration the study started from, so each result stands beside what it has to beat. A trial
that died is entered again with the same values. The test part of the split is never looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict, Field

from bwpredict.config import Pruner, SplitConfig, TrainingConfig, load
from bwpredict.datasets.windows import Split
from bwpredict.errors import DivergedError, StudyError
from bwpredict.store.files import write_atomically
from bwpredict.training import trainer
from bwpredict.training.progress import Record
from bwpredict.tuning.config_files import NAME
from bwpredict.tuning.storage import create_in_journal, open_journal

logger = logging.getLogger(__name__)

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 2e-2, log=True),
    "batch_size": CategoricalDistribution([32, 64, 128, 256, 512, 1024]),
    "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    "gradient_clip_norm": FloatDistribution(0.1, 10.0, log=True),
}
"""What is searched. Epochs, windows and seed are the study's budget; a window or horizon of another length
would be validated on other windows, so their losses could not be compared."""

State = Literal["complete", "pruned", "diverged", "died"]

SPEC = "study.json"
ATTEMPTS = 3
"""How often a trial may die before it is given up (a batch that does not fit into memory kills each time)."""
STARTUP_TRIALS = 6
"""Trials that are drawn at random before the sampler learns from them."""
TRIALS_BEFORE_PRUNING = 4
FIRST_EPOCH_TO_PRUNE = 2
DEFAULT_SEEDS, TRIALS_FOR_SEEDS = 3, 10
"""A study of this many trials trains the default with that many seeds; the losses' spread shows what is chance."""
_DEFAULT, _SEED, _ATTEMPT, _RETRY_OF, _DIVERGED = "default", "seed", "attempt", "retry_of", "diverged"


class StudySpec(BaseModel):
    """What a study is about: two processes work on one study only if they agree on all of this."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME)
    training: TrainingConfig
    """Of trial 0; the others differ in the fields of `SPACE`, or in the seed."""
    split: SplitConfig
    pruner: Pruner = "median"
    telemetry: str
    snapshot_id: str
    code_version: str
    created_at: str


@dataclass(frozen=True)
class Study:
    """A study's folder and what it is about."""

    folder: Path
    spec: StudySpec


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    values: dict[str, Any]
    """Field of `SPACE`: value."""
    state: State
    validation_loss: float | None
    """The least of its epochs; None if no epoch ended."""
    epochs: int
    is_default: bool


def open_study(folder: Path, spec: StudySpec) -> Study:
    """Make the study in `folder`, or resume the one that is there.

    Raises:
        StudyError: the study there is about something else; names what differs.
    """
    with FileLock(_lock(folder)):
        if (folder / SPEC).exists():
            study = read_study(folder)
            _require_same(study, spec)
        else:
            study = Study(folder, spec)
            create_in_journal(folder, spec.name)
            write_atomically(folder / SPEC, spec.model_dump_json(indent=2).encode())
    return study


def read_study(folder: Path) -> Study:
    """The study in `folder`. Raises StudyError if there is none."""
    try:
        return Study(folder, StudySpec.model_validate_json((folder / SPEC).read_bytes()))
    except (OSError, ValueError) as error:
        raise StudyError(f"{folder / SPEC}: cannot be read as a study; is {folder} its folder?") from error


def run_trials(
    study: Study, split: Split, trials: int, on_trial: Callable[[Trial], None] | None = None, *, poll_s: float = 1.0
) -> None:
    """Run trials until the study has `trials` finished ones, whoever ran them.

    Waits for the trials of other processes, and takes over those of processes that died.
    """
    while len(finished_trials(study)) < trials:
        trial = run_trial(study, split, trials)
        if trial is None:
            time.sleep(poll_s)
        elif on_trial:
            on_trial(trial)


def run_trial(study: Study, split: Split, trials: int) -> Trial | None:
    """Run one trial of the study, or none if `trials` are finished or being run.

    Raises:
        TelemetryError: as `training.train`; the trial counts as one that died.
    """
    claimed = _claim(study, trials)
    if claimed is None:
        return None
    trial, lock = claimed
    with lock:
        loss = None
        try:
            loss = _train(study, split, trial)
            state = TrialState.COMPLETE
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except DivergedError as error:
            logger.warning("trial %d: %s", trial.number, error)
            trial.set_user_attr(_DIVERGED, value=True)
            state = TrialState.PRUNED
        return _finished(trial.study.tell(trial, loss, state))


def finished_trials(study: Study) -> list[Trial]:
    """The finished trials, each once however often it had to be started, by number."""
    return [_finished(trial) for trial in _optuna_study(study).get_trials(deepcopy=False) if _counts(trial)]


def best_and_defaults(study: Study) -> tuple[Trial, list[Trial]]:
    """The complete trial of least validation loss (the earliest of equals), and those of the default configuration.

    Raises:
        StudyError: no trial of the default configuration has ended well, so nothing can be compared.
    """
    complete = ranked(finished_trials(study))
    defaults = [trial for trial in complete if trial.is_default]
    if not defaults:
        raise StudyError(
            f"{study.spec.name}: no trial of the default configuration has a result, so there is nothing to compare"
            " with; see the log for why, and start a new study."
        )
    return complete[0], defaults


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The complete trials, best first; the earlier of equals first."""
    complete = (trial for trial in trials if trial.state == "complete")
    return sorted(complete, key=lambda trial: (trial.validation_loss or 0.0, trial.number))


def sentence(trial: Trial) -> str:
    """The result and the values of a trial, in one line."""
    values = ", ".join(f"{name}={shown(value)}" for name, value in trial.values.items())
    return f"{label(trial)} after {trial.epochs} epochs; {values}"


def label(trial: Trial) -> str:
    """The result of a trial, in short."""
    default = ", the default configuration" if trial.is_default else ""
    loss = "" if trial.validation_loss is None else f", validation loss {trial.validation_loss:.4f}"
    return f"trial {trial.number}{default}: {trial.state}{loss}"


def shown(value: object) -> str:
    """A hyperparameter's value as people read it."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _claim(study: Study, trials: int) -> tuple[optuna.Trial, AbstractContextManager[object]] | None:
    """The next trial and the lock that says that this process runs it, in one step as others see it."""
    with FileLock(_lock(study.folder)):
        optuna_study = _optuna_study(study)
        _enter_again(optuna_study, study)
        _enter_defaults(optuna_study, study, DEFAULT_SEEDS if trials >= TRIALS_FOR_SEEDS else 1)
        existing = optuna_study.get_trials(deepcopy=False)
        taken = sum(_counts(trial) or trial.state is TrialState.RUNNING for trial in existing)
        if taken >= trials:
            return None
        optuna_study.sampler = _sampler(study.spec.training.seed, taken)
        trial = optuna_study.ask(SPACE)
        return trial, FileLock(_trial_lock(study, trial.number)).acquire()


def _train(study: Study, split: Split, trial: optuna.Trial) -> float:
    """The least validation loss of the trial's training. Raises TrialPruned, and what `training.train` raises."""
    # Trials run in parallel, and only a training in this process logs its epochs.
    own = {"ranks": 1, "seed": study.spec.training.seed + trial.user_attrs.get(_SEED, 0)}
    values = study.spec.training.model_dump() | trial.params | own
    config = load(TrainingConfig, values, origin=f"trial {trial.number}")
    checkpoint = study.folder / "trials" / f"{trial.number}.pth"
    try:
        result = trainer.train(
            split,
            config,
            checkpoint,
            absent=frozenset(split["train"].frame.filled or {}),
            on_epoch=partial(_report, trial),
        )
    finally:
        checkpoint.unlink(missing_ok=True)
    return min(float(record["validation_loss"]) for record in result.history["records"])


def _report(trial: optuna.Trial, record: Record) -> None:
    """Tell the study of an epoch; ends the training where the study's pruner says so, but never the default's."""
    trial.report(record["validation_loss"], record["epoch"])
    unfinished = record["stage_epoch"] < record["stage_epochs"]
    if unfinished and not trial.user_attrs.get(_DEFAULT) and trial.should_prune():
        raise optuna.TrialPruned


def _enter_again(optuna_study: optuna.Study, study: Study) -> None:
    """Enter the trials whose process died once more; safe to be killed at any point."""
    trials = optuna_study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(_RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state is not TrialState.RUNNING or _is_held(_trial_lock(study, trial.number)):
            continue
        attempt = trial.user_attrs.get(_ATTEMPT, 1)
        logger.warning("trial %d died (attempt %d of %d)", trial.number, attempt, ATTEMPTS)
        if attempt < ATTEMPTS and trial.params.keys() == SPACE.keys() and trial.number not in retried:
            again = trial.user_attrs | {_ATTEMPT: attempt + 1, _RETRY_OF: trial.number}
            optuna_study.enqueue_trial(trial.params, user_attrs=again)
        optuna_study.tell(trial.number, state=TrialState.FAIL)


def _enter_defaults(optuna_study: optuna.Study, study: Study, seeds: int) -> None:
    """Enter the missing trials of the default configuration, one for each seed; safe to be killed at any point."""
    living = [trial for trial in optuna_study.get_trials(deepcopy=False) if _lives(trial)]
    there = {trial.user_attrs.get(_SEED, 0) for trial in living if trial.user_attrs.get(_DEFAULT)}
    values = study.spec.training.model_dump(include=set(SPACE))
    for seed in range(seeds):
        if seed not in there:
            optuna_study.enqueue_trial(values, user_attrs={_DEFAULT: True, _SEED: seed})


def _lives(trial: FrozenTrial) -> bool:
    """Whether the trial has ended, or will."""
    return trial.state is not TrialState.FAIL or _counts(trial)


def _counts(trial: FrozenTrial) -> bool:
    """Whether the trial is one of those asked for: it ended, or was given up."""
    if trial.state is TrialState.FAIL:
        return bool(trial.user_attrs.get(_ATTEMPT, 1) >= ATTEMPTS)
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _finished(trial: FrozenTrial) -> Trial:
    losses = trial.intermediate_values
    state: State = "complete"
    if trial.state is TrialState.FAIL:
        state = "died"
    elif trial.state is TrialState.PRUNED:
        state = "diverged" if trial.user_attrs.get(_DIVERGED) else "pruned"
    return Trial(
        number=trial.number,
        values=dict(trial.params),
        state=state,
        validation_loss=min(losses.values()) if losses else None,
        epochs=len(losses),
        is_default=bool(trial.user_attrs.get(_DEFAULT)),
    )


def _optuna_study(study: Study) -> optuna.Study:
    return optuna.load_study(study_name=study.spec.name, storage=open_journal(study.folder), pruner=_pruner(study.spec))


def _sampler(seed: int, taken: int) -> optuna.samplers.BaseSampler:
    """A fresh sampler for each trial, seeded by how many came before: a resumed study continues as if never stopped."""
    (state,) = np.random.SeedSequence([seed, taken]).generate_state(1)
    return optuna.samplers.TPESampler(seed=int(state), n_startup_trials=STARTUP_TRIALS)


def _pruner(spec: StudySpec) -> optuna.pruners.BasePruner:
    if spec.pruner == "median":
        return optuna.pruners.MedianPruner(TRIALS_BEFORE_PRUNING, FIRST_EPOCH_TO_PRUNE)
    if spec.pruner == "hyperband":
        most = spec.training.epochs
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=most)
    return optuna.pruners.NopPruner()


def _require_same(study: Study, spec: StudySpec) -> None:
    there, asked = study.spec.model_dump(mode="json"), spec.model_dump(mode="json")
    for name in there.keys() - {"created_at"}:
        if there[name] != asked[name]:
            raise StudyError(
                f"{study.folder}: the study there has {name} {_brief(there[name])}, not {_brief(asked[name])};"
                " its trials could not be compared. Give another folder, or ask for the same."
            )


def _brief(value: object) -> str:
    return str(value) if isinstance(value, str) else ", ".join(f"{k}={v}" for k, v in dict(value).items())  # type: ignore[call-overload]


def _lock(folder: Path) -> Path:
    return folder / "study.lock"


def _is_held(path: Path) -> bool:
    """Whether a living process holds the lock: the kernel frees a `flock` when its holder ends, however it ends."""
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True


def _trial_lock(study: Study, number: int) -> Path:
    return study.folder / "trials" / f"{number}.lock"
