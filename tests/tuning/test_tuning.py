"""The study's bookkeeping, with scripted trainings, and the real thing in processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_study
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_study import NO_SPLIT, TRAINING, TRIALS, DiedError, spec_of, split_of_days, study_in

from bwpredict.config import TrainingConfig
from bwpredict.errors import DivergedError, StudyError
from bwpredict.tuning.study import (
    ATTEMPTS,
    SPACE,
    best_and_defaults,
    finished_trials,
    open_study,
    read_study,
    run_trial,
    run_trials,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def start_worker(folder, together=1):
    return subprocess.Popen(
        [sys.executable, small_study.__file__, str(folder), str(together)],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests' / 'helpers'}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def results(study):
    """Values and loss of each finished trial, in the order in which they were first started."""
    return [(trial.values, trial.validation_loss, trial.is_default) for trial in finished_trials(study)]


@pytest.fixture(scope="module")
def split():
    return split_of_days()


@pytest.fixture(scope="module")
def uninterrupted(split, tmp_path_factory):
    study = study_in(tmp_path_factory.mktemp("uninterrupted"))
    run_trials(study, split, TRIALS)
    return study


def test_trial_0_is_the_configuration_the_study_started_from(uninterrupted):
    first, *others = finished_trials(uninterrupted)
    assert (first.number, first.is_default, first.state) == (0, True, "complete")
    assert first.values == TRAINING.model_dump(include=set(SPACE))
    assert not any(trial.is_default for trial in others)
    assert len({tuple(trial.values.values()) for trial in [first, *others]}) == TRIALS


def test_the_same_seed_finds_the_same_also_when_the_search_was_stopped_and_taken_up(uninterrupted, split, tmp_path):
    run_trials(study_in(tmp_path), split, 2)
    run_trials(study_in(tmp_path), split, TRIALS)
    assert results(read_study(tmp_path)) == results(uninterrupted)


def test_the_test_part_is_never_looked_at(uninterrupted, split, tmp_path):
    blind = type(split)({name: split[name] for name in ("train", "validation")}, {}, 0, False, "calendar")
    run_trials(study_in(tmp_path), blind, 2)
    assert results(read_study(tmp_path)) == results(uninterrupted)[:2]


def test_two_processes_share_four_trials_and_run_none_twice(tmp_path):
    workers = [start_worker(tmp_path, together=2) for _ in range(2)]
    ran = [list(map(int, worker.communicate(timeout=120)[0].split())) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert sorted(ran[0] + ran[1]) == [0, 1, 2, 3] == [trial.number for trial in finished_trials(read_study(tmp_path))]
    assert all(ran)


def test_a_process_killed_in_the_middle_of_a_trial_costs_that_trial_s_time_and_nothing_else(
    uninterrupted, split, tmp_path
):
    worker = start_worker(tmp_path)
    in_the_middle = tmp_path / "trials" / "1.pth"
    deadline = time.monotonic() + 60
    while not in_the_middle.exists():
        assert worker.poll() is None, "the worker ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert len(finished_trials(read_study(tmp_path))) == 1

    run_trials(study_in(tmp_path), split, TRIALS)
    assert [trial.number for trial in finished_trials(read_study(tmp_path))] == [0, 2, 3, 4]
    assert results(read_study(tmp_path)) == results(uninterrupted)


def test_a_journal_that_was_cut_in_the_middle_of_a_line_is_taken_up(script, tmp_path):
    study = study_in(tmp_path)
    run_trials(study, NO_SPLIT, 2)
    with (tmp_path / "journal.log").open("ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    run_trials(study_in(tmp_path), NO_SPLIT, 3)
    assert len(finished_trials(study)) == 3


def test_a_trial_that_is_being_run_is_left_to_its_process(script, tmp_path):
    study, seen = study_in(tmp_path), []

    def meanwhile(config, epoch):
        if not seen:
            seen.append(None)
            seen.append(run_trial(study, NO_SPLIT, 1))
        return 1.0

    script.loss_of = meanwhile
    run_trials(study, NO_SPLIT, 1)
    assert seen == [None, None]
    assert len(finished_trials(study)) == 1


def test_a_trial_far_behind_ends_early_and_counts(script, tmp_path):
    study = study_in(tmp_path, training=TRAINING.model_copy(update={"epochs": 6}))
    script.loss_of = lambda _config, epoch: 9.0 if len(script.trained) == 6 else 1 / epoch
    run_trials(study, NO_SPLIT, 6)
    last = finished_trials(study)[-1]
    assert (last.state, last.epochs) == ("pruned", 2)
    assert best_and_defaults(study)[0].number == 0


@pytest.mark.parametrize(("pruner", "some"), [("hyperband", True), ("none", False)])
def test_the_pruner_of_the_study_decides_whether_trials_end_early(script, tmp_path, pruner, some):
    study = study_in(tmp_path, pruner=pruner, training=TRAINING.model_copy(update={"epochs": 9}))
    script.loss_of = lambda _config, _epoch: float(len(script.trained))
    run_trials(study, NO_SPLIT, 12)
    assert any(trial.state == "pruned" for trial in finished_trials(study)) is some


def test_the_default_configuration_is_never_pruned(script, tmp_path):
    study = study_in(tmp_path, training=TRAINING.model_copy(update={"epochs": 9}))

    def others_are_better_and_end_before(config, epoch):
        if config.learning_rate != TRAINING.learning_rate:
            return 1.0
        if epoch == 1:
            for _ in range(7):
                run_trial(study, NO_SPLIT, 8)
        return 9.0

    script.loss_of = others_are_better_and_end_before
    run_trials(study, NO_SPLIT, 8)
    assert len(script.trained) == 8
    best, (default,) = best_and_defaults(study)
    assert (default.state, default.epochs) == ("complete", 9)
    assert not best.is_default


def test_a_learning_rate_that_blows_up_counts_as_a_trial_without_a_result(script, tmp_path):
    def diverges(config, epoch):
        if config.learning_rate != TRAINING.learning_rate:
            raise DivergedError("the loss is no longer finite.")
        return 1.0

    script.loss_of = diverges
    study = study_in(tmp_path)
    run_trials(study, NO_SPLIT, 3)
    assert [trial.state for trial in finished_trials(study)] == ["complete", "diverged", "diverged"]
    best, (default,) = best_and_defaults(study)
    assert best == default


def test_a_trial_that_kills_each_process_is_given_up(script, tmp_path):
    def kills(config, epoch):
        if config.learning_rate != TRAINING.learning_rate:
            raise DiedError
        return 1.0

    script.loss_of = kills
    study = study_in(tmp_path)
    for _ in range(ATTEMPTS):
        with pytest.raises(DiedError):
            run_trials(study, NO_SPLIT, 2)
    run_trials(study, NO_SPLIT, 2)
    assert [trial.state for trial in finished_trials(study)] == ["complete", "died"]
    assert len({config.learning_rate for config in script.trained}) == 2


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(["ends", "diverges", "dies"]), min_size=1, max_size=12), trials=st.integers(1, 5))
def test_as_many_trials_finish_as_were_asked_for_whatever_becomes_of_each(script, tmp_path_factory, fates, trials):
    left = list(fates)

    def fate(config: TrainingConfig, epoch: int) -> float:
        outcome = left.pop(0) if left and epoch == 1 else "ends"
        if outcome == "dies":
            raise DiedError
        if outcome == "diverges":
            raise DivergedError("the loss is no longer finite.")
        return config.learning_rate

    script.loss_of = fate
    study = study_in(tmp_path_factory.mktemp("study"))
    for _ in range(len(fates) + 1):
        try:
            run_trials(study, NO_SPLIT, trials)
        except DiedError:
            continue
    finished = finished_trials(study)
    assert len(finished) == trials
    assert sum(trial.is_default for trial in finished) == 1
    assert run_trial(study, NO_SPLIT, trials) is None


def test_a_study_that_was_asked_for_more_goes_on(script, tmp_path):
    study = study_in(tmp_path)
    run_trials(study, NO_SPLIT, 2)
    before = results(study)
    run_trials(study, NO_SPLIT, 4)
    assert results(study)[:2] == before
    assert len(script.trained) == 4


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"snapshot_id": "other"}, "snapshot_id"),
        ({"training": TRAINING.model_copy(update={"seed": 4})}, "seed=4"),
        ({"code_version": "newer"}, "code_version"),
        ({"pruner": "none"}, "pruner"),
    ],
)
def test_a_study_is_not_taken_up_with_something_else(tmp_path, changes, named):
    study_in(tmp_path)
    with pytest.raises(StudyError, match=named):
        open_study(tmp_path, spec_of(**changes))


def test_the_time_at_which_a_study_is_taken_up_does_not_matter(tmp_path):
    first = study_in(tmp_path)
    assert study_in(tmp_path, created_at="2027-01-01T00:00:00+00:00") == first


def test_without_the_default_s_result_there_is_nothing_to_claim(script, tmp_path):
    def default_diverges(config, epoch):
        if config.learning_rate == TRAINING.learning_rate:
            raise DivergedError("the loss is no longer finite.")
        return 1.0

    script.loss_of = default_diverges
    study = study_in(tmp_path)
    run_trials(study, NO_SPLIT, 3)
    with pytest.raises(StudyError, match="default configuration"):
        best_and_defaults(study)


def test_a_folder_without_a_study_is_named(tmp_path):
    with pytest.raises(StudyError, match="nowhere"):
        read_study(tmp_path / "nowhere")
