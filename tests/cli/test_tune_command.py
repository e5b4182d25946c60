"""`bwpredict tune` as a user has it, and what `train` and `retrain` make of its result."""

import json
import sys

import pytest
import yaml

from bwpredict.cli.main import main
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

BUDGET = ("--epochs", "1", "--windows-per-epoch", "256")


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    return write_partitioned(
        FleetConfig(links=1, days=3, start="2026-10-01", seed=5), tmp_path_factory.mktemp("telemetry")
    )


@pytest.fixture
def bwpredict(monkeypatch, tmp_path, caplog, capsys):
    """Runs the command line in an empty folder; returns its exit code and all that it said."""
    caplog.set_level("INFO")

    def run(*arguments):
        caplog.clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["bwpredict", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr()
        return exit_.value.code, caplog.text + said.out + said.err

    return run


def test_a_search_ends_with_a_table_and_a_proposal_that_is_used_once_approved(bwpredict, telemetry, tmp_path):
    search = ("tune", "--data-path", telemetry, "--study", "autumn", *BUDGET, "--registry", "registry")
    code, said = bwpredict(*search, "--trials", 4, "--jobs", 2)
    assert code == 0
    assert "of 4: trial 0, the default configuration: complete" in said
    assert "default" in said.split("4 trials: 4 complete")[1]
    proposal = tmp_path / "autumn" / "training_autumn.yaml"
    assert open_store("registry").read("training/proposed/autumn.yaml")[0] == proposal.read_bytes()

    retrain = ("retrain", "--month", "2026-10", "--telemetry", "nowhere", "--registry", "registry")
    code, said = bwpredict(*retrain, "--training-config", "autumn")
    assert code == 2
    assert "autumn is proposed but not approved" in said
    assert not (tmp_path / "data").exists()

    assert bwpredict("tune", "approve", "autumn", "--registry", "registry", "--by", "ada")[0] == 0
    code, said = bwpredict(*retrain, "--training-config", "autumn")
    assert "not approved" not in said
    (run,) = (json.loads(path.read_text()) for path in (tmp_path / "data" / "work").glob("*/run.json"))
    assert (run["training_file"]["name"], run["training_file"]["approved_by"]) == ("autumn", "ada")
    assert run["training"]["learning_rate"] == yaml.safe_load(proposal.read_text())["training"]["learning_rate"]


def test_train_takes_a_file_and_an_option_wins_over_it(bwpredict, telemetry, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "format: 1\nname: mine\ntraining:\n  learning_rate: 0.005\n  batch_size: 64\n  weight_decay: 0.01\n"
    )
    bwpredict(
        *("train", "--data-path", telemetry, "--output-dir", "out", *BUDGET),
        *("--training-config", "mine.yaml", "--batch-size", 256),
    )
    (metadata,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("model_metadata_*.json"))
    used = metadata["training_config"]
    assert (used["learning_rate"], used["batch_size"], used["weight_decay"], used["epochs"]) == (0.005, 256, 0.01, 1)
    assert metadata["run"]["training_file"]["name"] == "mine"
    assert len(metadata["run"]["training_file"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "--telemetry"),
        (("--data-path", "nowhere.csv", "--study", "s"), "nowhere.csv"),
        (("--data-path", "TELEMETRY", "--study", "s", "--epochs", "0"), "epochs"),
        (("--data-path", "TELEMETRY", "--study", "s", "--pruner", "axe"), "pruner"),
        (("--data-path", "TELEMETRY", "--study", "a b"), "name"),
        (("--data-path", "TELEMETRY", "--study", "s", "--trials", "0"), "--trials"),
        (("approve", "autumn", "--registry", "registry"), "autumn"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence_and_leaves_nothing(bwpredict, telemetry, tmp_path, arguments, named):
    code, said = bwpredict("tune", *(telemetry if each == "TELEMETRY" else each for each in arguments))
    assert code == 2
    assert named in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
