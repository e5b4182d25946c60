"""What a finished study hands to its reviewers: a training configuration file that says where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from bwpredict.errors import StudyError
from bwpredict.store.files import write_atomically
from bwpredict.tuning.config_files import StudyRecord, TrainingFile
from bwpredict.tuning.study import SPACE, Study, Trial, best_and_default, finished_trials


def write_proposal(study: Study, trials: int, folder: Path) -> Path:
    """Write `training_<study>.yaml` into `folder`; the same study gives the same bytes.

    Raises:
        StudyError: fewer than `trials` are finished, or the default configuration has no result.
    """
    finished = finished_trials(study)
    if len(finished) < trials:
        raise StudyError(f"{study.spec.name}: {len(finished)} of {trials} trials are finished; run the study on.")
    best, default = best_and_default(study)
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
            default_validation_loss=default.validation_loss,
        ),
    )
    path = folder / f"training_{file.name}.yaml"
    write_atomically(path, _render(file, best, default).encode())
    return path


def gain(best: Trial, default: Trial) -> str:
    """What the search found, against what it started from, in one sentence."""
    if best.is_default:
        return f"no trial was better than the default configuration (validation loss {default.validation_loss:.4f})"
    assert best.validation_loss and default.validation_loss  # noqa: S101, PT018 - both trials are complete
    return (
        f"validation loss {best.validation_loss:.4f}, {1 - best.validation_loss / default.validation_loss:.2%} less"
        f" than the default configuration's {default.validation_loss:.4f}"
    )


def _render(file: TrainingFile, best: Trial, default: Trial) -> str:
    document = file.model_dump(exclude={"approval"})
    lines = [
        f"# Training configuration: the best of the study {file.name}.",
        f"# Found: {gain(best, default)}.",
        "# The lowest of many losses on the same windows is too optimistic; the gate judges on the test part.",
        "# It was found for the epochs and windows below; train with as many.",
        "# A proposal until `bwpredict tune approve` has added its approval at the end.",
        _line("format", document["format"]),
        _line("name", document["name"]),
        "training:",
    ]
    for name, value in document["training"].items():
        lines.append(f"  {_line(name, value)}  # default {default.values[name]}; searched {_range(name)}")
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
