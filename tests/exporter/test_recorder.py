"""Forecasts that are kept: those that were served, each minute once, over restarts and late samples."""

from __future__ import annotations

import logging

import pandas as pd
import pyarrow as pa
from challengers import V1

from bwpredict import schema
from bwpredict.exporter import recorder
from bwpredict.exporter.exporter import Exporter
from bwpredict.exporter.sources import open_source

KEY = ["made_at", "node_id", "peer_id", "target", "horizon_minutes"]


def recorded(folder):
    """All forecasts, as pandas reads the folder."""
    return pd.read_parquet(folder).sort_values(KEY).reset_index(drop=True)


def exporter_of(models, folder, record):
    return Exporter(models, open_source(str(folder)), record=record)


def test_what_is_recorded_is_what_was_served(models, write, clock, tmp_path):
    exporter = exporter_of(models, write(0, 30), tmp_path / "record")
    for minute in (28, 29):
        exporter.tick(clock(minute))
    exporter.save()
    kept, figures = recorded(tmp_path / "record"), exporter.figures
    assert not kept.duplicated(KEY).any()
    assert len(kept) == 30 * 3 * len(schema.TARGETS) * len(figures.horizons_minutes)
    last = kept[kept["made_at"] == figures.newest_at]
    for row, link in enumerate(figures.links):
        of_link = last[last["node_id"].astype(str) + "-" + last["peer_id"].astype(str) == link]
        for place, target in enumerate(schema.TARGETS):
            of_target = of_link[of_link["target"] == target].sort_values("horizon_minutes")
            levels = [f"q{level:g}" for level in figures.levels]
            assert of_target["horizon_minutes"].tolist() == sorted(figures.horizons_minutes)
            assert of_target[levels].to_numpy().tolist() == figures.quantiles[row, :, :, place].tolist()
    assert set(kept["version"]) == {V1}
    assert set(kept["date"]) == {f"{pd.Timestamp(figures.newest_at, unit='s'):%Y-%m-%d}"}


def test_a_restart_records_no_minute_twice_and_leaves_none_out(models, write, clock, tmp_path):
    folder, record = write(0, 20), tmp_path / "record"
    first = exporter_of(models, folder, record)
    first.tick(clock(19))
    first.save()
    write(20, 30)
    second = exporter_of(models, folder, record)
    second.tick(clock(29))
    second.save()
    kept = recorded(record)
    assert not kept.duplicated(KEY).any()
    assert kept["made_at"].nunique() == 30


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    for name in ("date=2026-10-01/copy-0000.parquet", "date=yesterday/0000-0010.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    recorder.Recorder(tmp_path).flush()


def test_late_samples_of_a_minute_get_a_file_of_their_own(models, write, clock, tmp_path):
    def without_first(table):
        return table.filter(pa.compute.not_equal(table["node_id"], 0))

    def only_first(table):
        return table.filter(pa.compute.equal(table["node_id"], 0))

    folder, record = write(0, 20, name="most", change=without_first), tmp_path / "record"
    exporter = exporter_of(models, folder, record)
    exporter.tick(clock(19))
    exporter.save()
    write(16, 20, name="late", change=only_first)
    exporter.tick(clock(20))
    exporter.save()
    assert set(recorded(record)["node_id"]) == {0, 1, 2}


def test_a_large_fleet_is_written_before_it_fills_the_memory(models, write, clock, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "MAX_ROWS", 3 * 20 * 7)
    exporter = exporter_of(models, write(0, 20), tmp_path / "record")
    exporter.tick(clock(19))
    assert recorded(tmp_path / "record")["made_at"].nunique() == 16


def test_a_folder_that_cannot_be_written_stops_no_forecast(models, write, clock, tmp_path, caplog):
    (tmp_path / "record").write_text("a file")
    exporter = exporter_of(models, write(0, 20), tmp_path / "record")
    exporter.tick(clock(19))
    with caplog.at_level(logging.WARNING):
        exporter.save()
        exporter.save()
    assert len(exporter.figures.links) == 3
    assert len([line for line in caplog.messages if "cannot be written" in line]) == 1
