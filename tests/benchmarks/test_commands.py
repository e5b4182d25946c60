"""The commands from end to end, on little data."""

import json
from unittest import mock

import bench_ablations
import bench_accuracy
import bench_horizon
import bench_training
import pytest
import torch
from accuracy.options import run_main
from test_data import write_recording

from bwpredict import schema
from bwpredict.errors import ConfigError
from bwpredict.models.features import LEVELS
from bwpredict.models.network import Contract, Forecaster

QUICK = [
    "--links",
    "3",
    "--days",
    "2",
    "--budget-windows",
    "128",
    "--epochs",
    "1",
    "--test-windows",
    "200",
    "--seeds",
    "1",
]


def accuracy(folder, *options):
    bench_accuracy.main(bench_accuracy.parse([*QUICK, "--models", "ridge", "--output", str(folder), *options]))
    return json.loads((folder / "accuracy.json").read_text())


def test_a_later_run_replaces_its_data_sets_and_keeps_the_others(tmp_path):
    out, data = tmp_path / "out", tmp_path / "data"
    data.mkdir()
    write_recording(data)
    accuracy(out, "--datasets", "calm")
    document = accuracy(out, "--datasets", "wifi", "--recordings", str(data))
    assert [each["dataset"] for each in document["datasets"]] == ["calm", "wifi"]
    assert document["datasets"][1]["targets"] == ["rtt_ms"]
    for each in document["datasets"]:
        assert each["machine"]["cpu"]
        assert each["code_version"]
        assert len(each["digest"]) == 64
    again = accuracy(out, "--datasets", "calm")
    assert [each["dataset"] for each in again["datasets"]] == ["calm", "wifi"]
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_without_recordings_the_command_says_that_they_are_left_out(tmp_path, capsys):
    accuracy(tmp_path, "--datasets", "calm")
    assert "--recordings FOLDER" in capsys.readouterr().out


def test_an_unknown_data_set_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    options = bench_accuracy.parse(["--datasets", "stormy", "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as exit_info:
        run_main(bench_accuracy.main, options)
    assert exit_info.value.code == 2
    assert "'stormy' is not known" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_horizon_benchmark_draws_every_horizon_and_window(tmp_path):
    options = ["--horizons", "1,15", "--windows", "10", "--models", "ridge", "--output", str(tmp_path)]
    bench_horizon.main(bench_horizon.parse([*QUICK, *options]))
    runs = json.loads((tmp_path / "horizon.json").read_text())["runs"]
    assert [(run["window_size"], run["horizon_minutes"]) for run in runs] == [(20, 1), (20, 15), (10, 15)]
    assert (tmp_path / "horizon.png").read_bytes().startswith(b"\x89PNG")


def test_the_default_window_and_horizon_are_run_once():
    assert bench_horizon.grid([1, 15], [10, 20]) == [(20, 1), (20, 15), (10, 15)]


def test_ablations_measure_gains_over_the_first_variant(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_ablations, "VARIANTS", {"default": {}, "batch 64": {"batch_size": 64}, "other": {}})
    options = ["--variants", "batch 64", "--output", str(tmp_path)]
    bench_ablations.main(bench_ablations.parse([*QUICK, *options]))
    rows = json.loads((tmp_path / "ablations.json").read_text())["rows"]
    assert [(row["variant"], row["consumer"]) for row in rows] == [
        ("default", "windows"), ("default", "stream"), ("batch 64", "windows"), ("batch 64", "stream")
    ]  # fmt: skip
    for first, second in zip(rows[:2], rows[2:], strict=True):
        assert first["gain"] == 0
        assert second["gain"] == pytest.approx(second["test"] - first["test"])
        assert second["overrides"] == {"batch_size": 64}


@pytest.mark.parametrize("name", ["moving averages alone", "LSTM alone", "no direct inputs", "no level noise"])
def test_an_ablated_network_differs_in_the_part_that_is_named(name):
    with mock.patch.object(*bench_ablations.REPLACED[name]):
        ablated = one_forecast()
    assert (ablated != one_forecast()).any()


def one_forecast():
    """Quantiles of a stream, and those of a window whose levels are moved, of a network with random heads."""
    torch.manual_seed(0)
    model = Forecaster(Contract())
    for layer in (model.direct, model.head[-1], model.window_head[-1]):
        torch.nn.init.normal_(layer.weight, std=0.1)
    raw = model.eval().follow(torch.rand(1, 40, len(schema.FEATURES)) + 1, model.empty_state(1))
    moved = model.window_quantiles(raw.features, level_noise=torch.ones(1, LEVELS), familiar=torch.ones(1, 1))
    return torch.cat((raw.quantiles, moved)).detach().numpy()


def test_the_course_of_a_training_names_seconds_and_skill(tmp_path):
    bench_training.main(bench_training.parse([*QUICK, "--output", str(tmp_path)]))
    (row,) = json.loads((tmp_path / "training.json").read_text())["rows"]
    assert row["epoch"] == 1
    assert row["seconds"] > 0
    assert row["skill of streams"] != row["skill of windows"]


def test_an_unknown_variant_is_refused_by_name():
    with pytest.raises(ConfigError, match="'magic' is not known"):
        bench_ablations.variants_of(["magic"])


def test_what_an_ablation_replaces_is_there():
    for place, name, _ in bench_ablations.REPLACED.values():
        assert hasattr(place, name), name
