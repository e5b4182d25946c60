"""What a user meets who gets something wrong: one sentence, exit code 2, and nothing half-written."""

import gzip

import numpy as np
import pandas as pd
import pytest
from frames import MIDNIGHT

from bwpredict import schema
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned


@pytest.fixture
def refused(cli):
    """Run the command line, which must fail as a user's mistake does; returns the sentence."""

    def run(*arguments):
        code, _, said = cli(*arguments)
        assert code == 2
        return said

    return run


@pytest.fixture
def telemetry(tmp_path):
    """A link's telemetry as a CSV file, changed by the test before it is written."""

    def write(change=lambda table: table, minutes=800, name="given.csv"):
        generator = np.random.default_rng(0)
        table = pd.DataFrame({"timestamp": MIDNIGHT + 60 * np.arange(minutes), "node_id": 1, "peer_id": 2})
        for target in schema.TARGETS:
            table[target] = 0.01 * (1 + generator.random(minutes))
        path = tmp_path / name
        change(table).to_csv(path, index=False)
        return path

    return write


def with_value(column, row, value):
    def change(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return change


def without(column):
    return lambda table: table.drop(columns=column)


CONSTANT = dict.fromkeys(schema.TARGETS, 0.5)

BAD_TELEMETRY = {
    "no time": (without("timestamp"), "timestamp"),
    "no target": (without(list(schema.TARGETS)), "columns to forecast"),
    "text in a number": (with_value("rtt_ms", 7, "fast"), "rtt_ms"),
    "infinity": (with_value("jitter_ms", 7, "inf"), "jitter_ms"),
    "negative": (with_value("throughput_mbps", 7, -1), "throughput_mbps"),
    "loss above one": (with_value("packet_loss", 7, 1.5), "packet_loss"),
    "constant columns": (lambda table: table.assign(**CONSTANT), "nothing to learn"),
    "no rows": (lambda table: table.iloc[:0], "no rows"),
    "links too short": (lambda table: table.assign(node_id=np.arange(len(table)) // 20), "no link has a window"),
}


@pytest.mark.parametrize(("change", "named"), BAD_TELEMETRY.values(), ids=BAD_TELEMETRY.keys())
def test_train_names_what_is_wrong_with_the_telemetry(refused, telemetry, tmp_path, change, named):
    said = refused("train", "--data-path", telemetry(change), "--output-dir", tmp_path / "out")
    assert said.startswith("error: ")
    assert named in said
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


BAD_FILES = {
    "missing": (None, "no such file"),
    "corrupt.parquet": (b"PAR1 not really", "corrupt.parquet"),
    "corrupt.csv.gz": (gzip.compress(b"timestamp,rtt_ms\n1,2\n" * 1000)[:-20], "corrupt.csv.gz"),
    "empty.csv": (b"", "empty.csv"),
    "picture.png": (b"\x89PNG", "picture.png"),
}


@pytest.mark.parametrize(("name", "case"), BAD_FILES.items(), ids=BAD_FILES.keys())
def test_train_names_a_file_it_cannot_read(refused, tmp_path, name, case):
    content, named = case
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    said = refused("train", "--data-path", path, "--output-dir", tmp_path / "out")
    assert said.startswith("error: ")
    assert named in said


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--window-size", 2),
        ("--window-size", 1000),
        ("--epochs", 0),
        ("--batch-size", 1),
        ("--learning-rate", 0),
        ("--horizon-minutes", 90),
        ("--seed", -1),
        ("--split-by", "coin"),
    ],
)
def test_train_names_a_parameter_that_the_model_cannot_take(refused, telemetry, tmp_path, option, value):
    said = refused("train", "--data-path", telemetry(), "--output-dir", tmp_path / "out", option, value)
    assert option.removeprefix("--").replace("-", "_").replace("split_by", "by") in said
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_named(refused, telemetry, tmp_path):
    (tmp_path / "taken").write_text("mine")
    taken = tmp_path / "taken"
    assert str(taken) in refused("train", "--data-path", telemetry(), "--output-dir", taken)
    assert str(taken) in refused("retrain", "--month", "2026-10", "--work", taken)
    assert taken.read_text() == "mine"


def test_an_unknown_option_is_refused(refused):
    assert "--epoch" in refused("train", "--epoch", 3)


@pytest.mark.parametrize("month", ["2026-13", "october", "2026-10-01"])
def test_retrain_names_an_impossible_month(refused, tmp_path, month):
    said = refused("retrain", "--month", month, "--work", tmp_path / "work")
    assert said == f"error: params: month: Expected YYYY-MM, such as 2026-10 (given: {month!r}).\n"
    assert not (tmp_path / "work").exists()


def test_retrain_names_an_empty_month(refused, tmp_path):
    write_partitioned(FleetConfig(links=1, days=1, start="2026-09-01"), tmp_path / "telemetry")
    said = refused("retrain", "--month", "2026-10", "--telemetry", tmp_path / "telemetry", "--work", tmp_path / "work")
    assert "month=2026-10" in said
    assert "2026-09-01" in said


@pytest.mark.parametrize("registry", ["ftp://models", "s3://"])
@pytest.mark.parametrize("command", [("status",), ("rollback",), ("promote", "v20261101_000000")])
def test_a_registry_that_cannot_be_is_named(refused, registry, command):
    assert registry in refused(*command, "--registry", registry)


def test_a_registry_that_is_a_file_is_not_taken_for_an_empty_one(refused, tmp_path):
    (tmp_path / "models").write_text("mine")
    assert "models: is a file" in refused("status", "--registry", tmp_path / "models")


def test_promote_names_an_unknown_version(refused, tmp_path):
    assert "v20261101_000000" in refused("promote", "v20261101_000000", "--registry", tmp_path)


def test_promote_refuses_what_is_no_version(refused, tmp_path):
    assert "latest" in refused("promote", "latest", "--registry", tmp_path)


def test_rollback_says_when_there_is_nothing_to_go_back_to(refused, tmp_path):
    assert "nothing" in refused("rollback", "--registry", tmp_path)


def test_generate_takes_samples_or_a_fleet_but_not_both(refused, tmp_path):
    assert "--samples" in refused("generate", "--samples", 10, "--days", 2, "--output", tmp_path / "out")
    assert "regime" in refused("generate", "--days", 2, "--regime", "wild", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--start", "2026-10-01"), ("--regime", "congested"), ("--gap-share", 0.1), ("--drift-from", "2026-10-02")],
)
def test_generate_refuses_what_a_csv_of_samples_would_not_follow(refused, tmp_path, option, value):
    assert option in refused("generate", "--samples", 10, option, value, "--output", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_generate_drifts_only_in_the_regime_that_does(refused, tmp_path):
    fleet = ("--days", 2, "--drift-from", "2026-10-02", "--output", tmp_path / "out")
    assert "--regime drifting" in refused("generate", *fleet)
    assert "drift_from" in refused("generate", *fleet[:3], "soon", *fleet[4:], "--regime", "drifting")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate", "--output", "s3://telemetry/links"),
        ("train", "--data-path", "s3://telemetry/links"),
        ("pull", "--dest", "s3://telemetry/links"),
    ],
)
def test_a_bucket_where_only_a_folder_will_do_is_refused_and_no_folder_of_that_name_is_made(
    refused, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    assert "s3://telemetry/links: is not on this machine" in refused(*arguments)
    assert list(tmp_path.iterdir()) == []
