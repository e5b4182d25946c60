"""`bwpredict predict`: forecasts for a whole telemetry folder, a day at a time."""

from __future__ import annotations

import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tiny_onnx import last_value_onnx

from bwpredict import schema
from bwpredict.cli.main import main
from bwpredict.config import TrainingConfig
from bwpredict.datasets.external import read_data_path
from bwpredict.datasets.windows import index_samples, index_windows
from bwpredict.errors import ConfigError, ModelError, PredictionError, TelemetryError
from bwpredict.inference.batch import predict
from bwpredict.inference.stream_model import forecast_stream, open_stream
from bwpredict.models.onnx_export import export_onnx, model_properties
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store
from bwpredict.training.trainer import new_model

DAYS = ["2026-10-01", "2026-10-02", "2026-10-03"]


@pytest.fixture(scope="module")
def telemetry(tmp_path_factory):
    config = FleetConfig(links=2, days=3, start=DAYS[0], seed=1)
    return write_partitioned(config, tmp_path_factory.mktemp("predict") / "telemetry")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return last_value_onnx(tmp_path_factory.mktemp("model") / "model.onnx", horizon_minutes="15")


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr("sys.argv", ["bwpredict", "predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return ended.value.code or 0, said

    return command


def forecasts(output: Path) -> pd.DataFrame:
    return pd.concat([pq.ParquetFile(path).read().to_pandas() for path in sorted(output.glob("date=*/*.parquet"))])


def test_every_sample_that_ends_a_window_has_a_forecast_also_across_midnight(telemetry, model, tmp_path):
    done = predict(open_store(str(telemetry)), model, tmp_path / "out")
    assert (done.days, done.days_left, done.forecasts) == (3, 0, 2 * (3 * 1440 - 19))
    found = forecasts(tmp_path / "out")
    samples = pd.concat([pq.ParquetFile(path).read().to_pandas() for path in telemetry.glob("date=*/*.parquet")])
    both = found.merge(samples, on=["node_id", "peer_id", "timestamp"], suffixes=("", "_seen"))
    assert len(both) == len(found) == done.forecasts
    for target in schema.TARGETS:  # the model repeats the last sample
        np.testing.assert_array_equal(both[target], both[f"{target}_seen"].astype(np.float32))
    assert (found["forecast_for"] - found["timestamp"] == 15 * 60).all()
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [f"date={day}" for day in DAYS]


def test_a_large_fleet_is_forecast_in_parts_of_whole_links(telemetry, model, tmp_path, monkeypatch):
    predict(open_store(str(telemetry)), model, tmp_path / "whole")
    monkeypatch.setattr("bwpredict.inference.batch.PART_ROWS", 1000)  # less than a day of one link
    done = predict(open_store(str(telemetry)), model, tmp_path / "parts")
    assert done.forecasts == 2 * (3 * 1440 - 19)
    pd.testing.assert_frame_equal(forecasts(tmp_path / "parts"), forecasts(tmp_path / "whole"))
    assert pq.ParquetFile(tmp_path / f"parts/date={DAYS[0]}/part-0.parquet").num_row_groups == 2


def test_days_and_steps_can_be_chosen(telemetry, model, tmp_path):
    days = (date(2026, 10, 2), date(2026, 10, 2))
    done = predict(open_store(str(telemetry)), model, tmp_path, days=days, every_minutes=15)
    assert done.forecasts == 2 * 96
    assert (forecasts(tmp_path)["timestamp"] % 900 == 0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["date=2026-10-02"]


def test_one_link_can_be_chosen_and_an_unknown_one_is_named_with_the_closest(telemetry, model, tmp_path):
    store = open_store(str(telemetry))
    predict(store, model, tmp_path / "all")
    everything = forecasts(tmp_path / "all")
    node, peer = everything[["node_id", "peer_id"]].iloc[0].tolist()
    done = predict(store, model, tmp_path / "one", link=(node, peer))
    chosen = everything[(everything.node_id == node) & (everything.peer_id == peer)]
    assert done.forecasts == len(chosen) > 0
    pd.testing.assert_frame_equal(forecasts(tmp_path / "one").reset_index(drop=True), chosen.reset_index(drop=True))
    with pytest.raises(ConfigError, match=f"no such link .* the closest are .*{node}-{peer}"):
        predict(store, model, tmp_path / "none", link=(node, peer + 1))


def test_days_without_the_chosen_link_are_left_out(telemetry, model, tmp_path):
    copy = shutil.copytree(telemetry, tmp_path / "telemetry")
    everything = [pq.ParquetFile(copy / f"date={day}/part-0.parquet").read() for day in DAYS]
    node, peer = (everything[0][name][0].as_py() for name in schema.LINK_KEY)
    for day, table in zip(DAYS[1:], everything[1:], strict=True):
        others = pc.or_(pc.not_equal(table["node_id"], node), pc.not_equal(table["peer_id"], peer))
        pq.write_table(table.filter(others), copy / f"date={day}/part-0.parquet")
    store = open_store(str(copy))
    assert predict(store, model, tmp_path / "gone", link=(node, peer)).forecasts == 1440 - 19
    assert set(forecasts(tmp_path / "gone")["timestamp_utc"].dt.date.astype(str)) == {DAYS[0]}
    pq.write_table(everything[2], copy / f"date={DAYS[2]}/part-0.parquet")
    shutil.rmtree(copy / f"date={DAYS[0]}")
    assert predict(store, model, tmp_path / "new", link=(node, peer)).forecasts == 1440 - 19


def test_times_are_unix_seconds_and_the_same_instants_for_people(telemetry, model, tmp_path):
    predict(open_store(str(telemetry)), model, tmp_path)
    found = forecasts(tmp_path)
    for name in ("timestamp", "forecast_for"):
        assert (found[f"{name}_utc"] == pd.to_datetime(found[name], unit="s", utc=True)).all()


def test_run_again_it_makes_only_what_is_missing_or_follows_from_something_else(telemetry, model, tmp_path):
    copy = shutil.copytree(telemetry, tmp_path / "telemetry")
    store, output = open_store(str(copy)), tmp_path / "out"
    predict(store, model, output)
    (output / f"date={DAYS[0]}/part-0.parquet").write_bytes(b"half of a file")
    again = predict(store, model, output)
    assert (again.days, again.days_left) == (1, 2)
    shutil.copy(copy / f"date={DAYS[0]}/part-0.parquet", copy / f"date={DAYS[2]}/part-0.parquet")
    other = last_value_onnx(tmp_path / "other.onnx", horizon_minutes="15", factor=2.0)
    assert predict(store, other, output).days_left == 0


def test_a_full_disk_is_one_sentence_and_what_is_missing_is_made_once_there_is_space(telemetry, model, tmp_path):
    output = tmp_path / "disk"
    output.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", output], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        ballast = output / "ballast"
        ballast.write_bytes(b"x" * 600_000)
        with pytest.raises(
            (PredictionError, TelemetryError),
            match=r"cannot be written \(.*[Nn]o space left on device.*\); free some space",
        ):
            predict(open_store(str(telemetry)), model, output)
        assert list(output.glob(".*")) == []
        assert all(pq.read_table(path).num_rows for path in output.glob("date=*/*.parquet"))
        ballast.unlink()
        days = (date(2026, 10, 1), date(2026, 10, 1))
        assert predict(open_store(str(telemetry)), model, output, days=days, every_minutes=15).days == 1
    finally:
        subprocess.run(["umount", "--lazy", output], check=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"--onnx": "nowhere.onnx"}, "nowhere.onnx: no such file; expected an ONNX model"),
        ({"--telemetry": "nothing"}, "nothing: "),
        ({"--first-day": "October"}, "--first-day=October: not a day; expected YYYY-MM-DD"),
        ({"--last-day": "2026-10-02"}, "--last-day goes with --first-day"),
        ({"--first-day": "2026-10-03", "--last-day": "2026-10-01"}, "the first comes after the last"),
        ({"--first-day": "2026-11-03"}, "holds no telemetry"),
        ({"--every": 0}, "every=0: expected a number of minutes"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(run, telemetry, model, tmp_path, monkeypatch, changes, sentence):
    monkeypatch.chdir(tmp_path)
    options = {"--telemetry": telemetry, "--onnx": model, "--output": "out"} | changes
    code, said = run(*(part for pair in options.items() for part in pair))
    assert (code, sentence in said) == (2, True), said
    assert not list(tmp_path.rglob("*.parquet"))


def test_without_a_model_in_production_it_says_so(run, telemetry, tmp_path):
    (tmp_path / "registry").mkdir()
    code, said = run("--telemetry", telemetry, "--registry", tmp_path / "registry", "--output", tmp_path / "out")
    assert (code, "nothing is in production yet; give --onnx" in said) == (2, True)


def test_a_model_that_does_not_tell_its_horizon_is_refused(run, telemetry, tmp_path):
    model = last_value_onnx(tmp_path / "model.onnx")
    code, said = run("--telemetry", telemetry, "--onnx", model, "--output", tmp_path / "out")
    assert (code, "a model that bwpredict exported" in said) == (2, True)


@pytest.fixture(scope="module")
def stream(telemetry, tmp_path_factory):
    """An untrained network for streams."""
    index = index_windows(read_data_path(telemetry), 20, 15)
    model = new_model(index, TrainingConfig(), frozenset()).eval()
    properties = model_properties(model, version="v20261101_000000", snapshot_id="abc")
    folder = tmp_path_factory.mktemp("stream")
    export_onnx(model, folder / "windows.onnx", properties, stream=folder / "stream.onnx")
    return folder / "stream.onnx"


def test_a_stream_of_a_link_that_has_gone_forecasts_nothing(telemetry, stream):
    index, model = index_samples(read_data_path(telemetry), 15), open_stream(stream, threads=1)
    assert forecast_stream(model, index.take(np.zeros(len(index), bool))).output.shape == (0, 4)


def test_a_state_of_another_model_is_refused_with_a_sentence(stream):
    model = open_stream(stream, threads=1)
    samples = np.ones((2, 1, len(schema.FEATURES)), np.float32)
    for state in (np.zeros((2, model.state_size - 1), np.float32), model.empty_state(1)):
        expected = rf"expected \[2, {model.state_size}\] \(state version {model.state_version}\)"
        with pytest.raises(ModelError, match=expected):
            model.step(samples, state)


def without_minutes(telemetry, folder, share):
    """A copy in which a random share of the samples is missing."""
    for path in sorted(telemetry.glob("date=*/*.parquet")):
        table = pq.ParquetFile(path).read()
        kept = np.random.default_rng(len(folder.name)).random(table.num_rows) >= share
        target = folder / path.relative_to(telemetry)
        target.parent.mkdir(parents=True)
        pq.write_table(table.filter(pa.array(kept)), target)
    return folder


def test_a_stream_forecasts_from_every_sample_also_after_gaps(telemetry, stream, model, tmp_path):
    holey = without_minutes(telemetry, tmp_path / "telemetry", 0.01)
    samples = sum(pq.ParquetFile(path).metadata.num_rows for path in holey.glob("date=*/*.parquet"))
    streamed = predict(open_store(str(holey)), stream, tmp_path / "streams")
    windows = predict(open_store(str(holey)), model, tmp_path / "windows")
    assert (streamed.mode, windows.mode) == ("stream", "windows")
    assert 0.98 < samples / (2 * 3 * 1440) < 0.995
    assert streamed.forecasts == samples
    assert windows.forecasts < 0.9 * samples
    found = forecasts(tmp_path / "streams")
    assert np.isfinite(found[list(schema.TARGETS)]).all(axis=None)


def test_a_day_of_streams_follows_from_itself_and_the_day_before(telemetry, stream, tmp_path):
    store, days = open_store(str(telemetry)), (date(2026, 10, 2), date(2026, 10, 2))
    predict(store, stream, tmp_path / "all")
    predict(store, stream, tmp_path / "one", days=days)
    alone, whole = (
        pq.ParquetFile(tmp_path / name / f"date={DAYS[1]}/part-0.parquet").read().to_pandas() for name in ("one", "all")
    )
    pd.testing.assert_frame_equal(alone, whole)
