"""A training configuration: proposed, reviewed, approved, used by name; and what a file must not say."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from small_study import NO_SPLIT, TRAINING, Script, study_in

from bwpredict.config import Settings, TrainingConfig, TrainingSource
from bwpredict.errors import ConfigError, StudyError
from bwpredict.pipeline.run_config import run_config
from bwpredict.store.factory import open_store
from bwpredict.tuning.config_files import approve, parse, propose, resolve
from bwpredict.tuning.proposal import write_proposal
from bwpredict.tuning.study import SPACE, best_and_defaults, run_trials

NOW = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
BY_HAND = "format: 1\nname: by_hand\ntraining:\n  learning_rate: 0.005\n  patience_epochs: 9\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study in which the smaller learning rate is the better one."""
    study = study_in(tmp_path_factory.mktemp("study"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bwpredict.training.trainer.train", Script().train)
        run_trials(study, NO_SPLIT, 8)
    return study


@pytest.fixture
def proposal(study, tmp_path) -> Path:
    return write_proposal(study, 8, tmp_path)


@pytest.fixture
def registry(proposal, tmp_path):
    """A registry with the proposal `small` in it."""
    store = open_store(str(tmp_path / "registry"))
    assert propose(store, proposal) == "small"
    return store


def run_with(registry, **params):
    return run_config(
        params,
        run_id="manual__1",
        interval_start=None,
        run_after=NOW,
        now=NOW,
        settings=Settings(registry=registry.uri),
        code_version="abc",
    )


def test_a_proposal_has_the_best_values_and_says_what_they_were_found_from(study, proposal):
    file = parse(proposal.read_bytes(), origin="proposal")
    best, (default,) = best_and_defaults(study)
    assert best.validation_loss < default.validation_loss
    assert file.training == best.values
    assert file.training.keys() == SPACE.keys()
    assert (file.study.validation_loss, file.study.default_validation_loss) == (
        best.validation_loss,
        default.validation_loss,
    )
    assert (file.study.snapshot_id, file.study.code_version, file.study.trials) == ("abc", "test", 8)
    assert "% less than the default configuration's" in proposal.read_text()
    assert file.approval is None


def test_where_nothing_was_better_the_proposal_says_so(script, tmp_path):
    script.loss_of = lambda _config, _epoch: 1.0
    study = study_in(tmp_path / "small")
    run_trials(study, NO_SPLIT, 2)
    path = write_proposal(study, 2, tmp_path)
    assert "no trial was better than the default configuration" in path.read_text()
    assert TrainingConfig(**parse(path.read_bytes(), origin="").training) == TrainingConfig(
        learning_rate=1e-3, batch_size=64
    )


def test_an_unfinished_study_proposes_nothing(study, tmp_path):
    with pytest.raises(StudyError, match="8 of 9 trials"):
        write_proposal(study, 9, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_only_proposed_is_refused_with_the_way_to_approve_it(registry):
    with pytest.raises(ConfigError, match=r"proposed but not approved; review .* bwpredict tune approve small"):
        run_with(registry, training_config="small")


def test_what_was_approved_is_used_and_on_record(registry, study):
    approve(registry, "small", by="ada", now=NOW)
    run = run_with(registry, training_config="small", epochs=3)
    content = registry.read("training/approved/small.yaml")[0]
    assert run.training == TrainingConfig(**best_and_defaults(study)[0].values, epochs=3)
    assert run.training_file == TrainingSource(
        name="small",
        sha256=hashlib.sha256(content).hexdigest(),
        approved_by="ada",
        approved_at="2026-11-24T03:04:05+00:00",
    )
    assert content.startswith(registry.read("training/proposed/small.yaml")[0])


def test_an_approval_is_given_once(registry):
    approve(registry, "small", by="ada", now=NOW)
    before = registry.read("training/approved/small.yaml")
    with pytest.raises(ConfigError, match="was already approved by ada at 2026-11-24"):
        approve(registry, "small", by="bob", now=NOW)
    assert registry.read("training/approved/small.yaml") == before


def test_what_was_changed_after_its_approval_is_refused(registry):
    approve(registry, "small", by="ada", now=NOW)
    content, etag = registry.read("training/approved/small.yaml")
    registry.write("training/approved/small.yaml", content.replace(b"  batch_size: ", b"  batch_size: 1"), if_etag=etag)
    with pytest.raises(ConfigError, match="differs from what was approved"):
        run_with(registry, training_config="small")


def test_a_proposal_is_made_once_and_making_the_same_again_changes_nothing(registry, proposal):
    propose(registry, proposal)
    proposal.write_text(proposal.read_text().replace("trials: 8", "trials: 9"))
    with pytest.raises(ConfigError, match="small: the registry has another proposal"):
        propose(registry, proposal)


def test_an_unknown_name_is_answered_with_those_there_are(registry):
    with pytest.raises(ConfigError, match=r"lage: no such proposal in .*; there are: small"):
        approve(registry, "lage", by="ada", now=NOW)
    approve(registry, "small", by="ada", now=NOW)
    with pytest.raises(ConfigError, match=r"lage: no such name in .*; approved are: small"):
        run_with(registry, training_config="lage")


def test_a_file_by_its_path_is_used_and_on_record_as_approved_by_nobody(registry, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(BY_HAND)
    run = run_with(registry, training_config=str(path), seed=7)
    assert (run.training.learning_rate, run.training.patience_epochs, run.training.seed) == (0.005, 9, 7)
    assert run.training.batch_size == TrainingConfig().batch_size
    assert (run.training_file.name, run.training_file.approved_by) == ("by_hand", None)


def test_without_a_file_the_defaults_stand(registry):
    run = run_with(registry, training_config="")
    assert (run.training, run.training_file) == (TrainingConfig(), None)
    assert resolve("", registry.uri) == ({}, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"training": {"learning_rte": 0.1}}, "learning_rte"),
        ({"training": {"learning_rate": 7}}, "learning_rate"),
        ({"training": {"batch_size": True}}, "batch_size"),
        ({"training": {"batch_size": "128"}}, "batch_size"),
        ({"training": {"seed": 1}}, "seed belongs to the run"),
        ({"training": {"window_size": 30}}, "window_size belongs to the run"),
        ({"training": None}, "training"),
        ({"format": 2}, "format"),
        ({"name": "../x"}, "name"),
        ({"comment": "mine"}, "comment"),
        ({"approval": {"by": "me"}}, "approval.at"),
    ],
)
def test_a_file_that_says_what_it_must_not_is_refused_by_the_key(change, named):
    content = yaml.safe_dump(yaml.safe_load(BY_HAND) | change).encode()
    with pytest.raises(ConfigError, match=f"mine.yaml.*{re.escape(named)}"):
        parse(content, origin="mine.yaml")


@pytest.mark.parametrize("content", [b"", b"- a\n", b"a: [", b"\xff\xfe\x00", b"!!python/object:os.system {}"])
def test_what_is_no_mapping_in_yaml_is_refused(content):
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        parse(content, origin="mine.yaml")


def test_a_missing_file_is_named(registry):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        run_with(registry, training_config="nowhere.yaml")


@pytest.mark.parametrize(
    ("loss", "within", "said"),
    [(0.99, True, "within the noise of its seeds (0.9900, 1.0000, 1.0100); keep the default"), (0.8, False, "beyond")],
)
def test_a_gain_is_measured_against_the_seeds_of_the_default(script, tmp_path, loss, within, said):
    """The default's three seeds give 1, 1.01 and 0.99: another one of its trainings has more than 0.966 (95 %)."""

    def losses(config, epoch):
        default = config.learning_rate == TRAINING.learning_rate
        return 1.0 + {0: 0.0, 1: 0.01, 2: -0.01}[config.seed - TRAINING.seed] if default else loss - 1e-4

    script.loss_of = losses
    study = study_in(tmp_path / "small")
    run_trials(study, NO_SPLIT, 10)
    path = write_proposal(study, 10, tmp_path)
    file = parse(path.read_bytes(), origin="proposal")
    assert file.study.within_noise is within
    assert file.study.default_validation_loss == pytest.approx(1.0)
    assert said in path.read_text()
