"""What a finished study hands to its reviewers: a training configuration file that says where it came from."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from scipy.stats import t as student_t

from bwpredict.errors import StudyError
from bwpredict.store.files import write_atomically
from bwpredict.tuning.config_files import StudyRecord, TrainingFile
from bwpredict.tuning.study import SPACE, TRIALS_FOR_SEEDS, Study, Trial, best_and_defaults, finished_trials

CONFIDENCE = 0.95
"""Of the prediction interval of the default configuration's loss."""


def write_proposal(study: Study, trials: int, folder: Path) -> Path:
    """Write `training_<study>.yaml` into `folder`; the same study gives the same bytes.

    Raises:
        StudyError: fewer than `trials` are finished, or the default configuration has no result.
    """
    finished = finished_trials(study)
    if len(finished) < trials:
        raise StudyError(
            f"{study.spec.name}: {len(finished)} of {trials} trials are finished; run the same command"
            " again to finish the rest."
        )
    best, defaults = best_and_defaults(study)
    file = TrainingFile(
        format=1,
        name=study.spec.name,
        training=best.values,
        study=StudyRecord(
            **study.spec.model_dump(include={"snapshot_id", "telemetry", "code_version", "created_at", "pruner"}),
            **study.spec.training.model_dump(include={"seed", "epochs", "windows_per_epoch"}),
            trials=len(finished),
            pruned=sum(trial.state == "pruned" for trial in finished),
            best_trial=best.number,
            validation_loss=best.validation_loss,
            default_validation_loss=mean(_losses(defaults)),
            within_noise=is_within_noise(best, defaults),
        ),
    )
    path = folder / f"training_{file.name}.yaml"
    write_atomically(path, _render(file, best, defaults).encode())
    return path


def gain(best: Trial, defaults: list[Trial]) -> str:
    """The result of the search, against what it started from, in one sentence."""
    losses = _losses(defaults)
    if best.is_default:
        return f"no trial was better than the default configuration (validation loss {mean(losses):.4f})"
    (least,) = _losses([best])
    shown = ", ".join(f"{loss:.4f}" for loss in losses)
    found = (
        f"validation loss {least:.4f}, {1 - least / mean(losses):.2%} less than the default configuration's"
        f" {mean(losses):.4f}"
    )
    within = is_within_noise(best, defaults)
    if within is None:
        return f"{found}; a search of {TRIALS_FOR_SEEDS} trials or more also measures how much of that is chance"
    if within:
        return f"{found}, within the noise of its seeds ({shown}); keep the default"
    return f"{found}, beyond the noise of its seeds ({shown})"


def is_within_noise(best: Trial, defaults: list[Trial]) -> bool | None:
    """Whether the default configuration could reach the best loss with another seed; None: it has a single result.

    It could where the loss is in the one-sided prediction interval (Student's t) of one more of its trainings.
    """
    losses, (least,) = _losses(defaults), _losses([best])
    count = len(losses)
    if best.is_default:
        return True
    if count < 2:
        return None
    quantile = float(student_t.ppf(CONFIDENCE, count - 1))
    return bool(least >= mean(losses) - quantile * stdev(losses) * (1 + 1 / count) ** 0.5)


def _losses(trials: list[Trial]) -> list[float]:
    """Of complete trials, so each has one."""
    return [trial.validation_loss for trial in trials if trial.validation_loss is not None]


def _render(file: TrainingFile, best: Trial, defaults: list[Trial]) -> str:
    document = file.model_dump(exclude={"approval"})
    lines = [
        f"# Training configuration: the best of the study {file.name}.",
        f"# Found: {gain(best, defaults)}.",
        "# The lowest of many losses on the same windows is too optimistic; the gate judges on the test part.",
        "# It was found for the epochs and windows below; train with as many.",
        "# A proposal until `bwpredict tune approve` has added its approval at the end.",
        _line("format", document["format"]),
        _line("name", document["name"]),
        "training:",
    ]
    for name, value in document["training"].items():
        lines.append(f"  {_line(name, value)}  # default {defaults[0].values[name]}; searched {_range(name)}")
    lines.append("study:")
    lines.extend(f"  {_line(name, value)}" for name, value in document["study"].items())
    return "\n".join(lines) + "\n"


def _line(name: str, value: Any) -> str:
    return yaml.safe_dump({name: value}, width=1000, allow_unicode=True).rstrip("\n")


def _range(name: str) -> str:
    distribution = SPACE[name]
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return ", ".join(map(str, choices))
    return f"{distribution.low} to {distribution.high}"  # type: ignore[attr-defined]
