"""`bwpredict forecast`: the next hour of a link, as the exporter would serve it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from challengers import V1
from monitored_links import MAPPING, at

from bwpredict import schema
from bwpredict.exporter.exporter import Exporter
from bwpredict.exporter.sources import FolderSource, open_source
from bwpredict.store.factory import open_store


@pytest.fixture
def arguments(models, write):
    return ("--models", models, "--source", write(0, 1500))


def test_json_has_the_forecasts_that_the_exporter_serves(cli, arguments, frame):
    code, out, err = cli("forecast", "1-101", "--json", *arguments)
    assert (code, err) == (0, "")
    found = json.loads(out)
    newest = int(frame.timestamps[0]) + 1499 * 60
    exporter = Exporter(arguments[1], open_source(str(arguments[3])))
    exporter.tick(float(newest))
    served = exporter.figures.quantiles[exporter.figures.links.index("1-101")]
    assert (found["link"], found["version"], found["warm"], found["interval_level"]) == ("1-101", V1, True, 0.9)
    assert found["newest_sample_at"] == datetime.fromtimestamp(newest, UTC).isoformat()
    for place, name in enumerate(schema.TARGETS):
        rows = found["targets"][name]["forecasts"]
        assert [row["minutes_ahead"] for row in rows] == [1, 5, 15, 30, 60]
        told = [[row["lower"], row["median"], row["upper"]] for row in rows]
        np.testing.assert_allclose(told, served[:, :, place], rtol=1e-5)
        assert 0 < found["targets"][name]["confidence"] <= 1
    assert datetime.fromisoformat(rows[-1]["at"]).timestamp() == newest + 3600


def test_the_terminal_shows_chart_interval_and_confidence_within_80_columns(cli, arguments, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli("forecast", "1-101", "--target", "rtt_ms", *arguments)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    for said in ("Link 1-101", "RTT (ms)", "+60 min", "Confidence 15 minutes ahead", "90% interval"):
        assert said in out
    assert {"●", "━", "░"} <= set(out)


def test_an_unknown_link_is_one_sentence_with_the_closest_names(cli, arguments):
    for unknown in ("1-102", "edge-7", "-1-5"):
        code, out, err = cli("forecast", *arguments, "--", unknown)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{unknown}: no such link (<node_id>-<peer_id>) in the last day of" in err
    assert "the closest are 2-102, 1-101, 0-100." in cli("forecast", "1-102", *arguments)[2]


def test_a_link_with_a_short_history_says_so_and_a_missing_sample_is_null(cli, models, write):
    folder = write(0, 30)
    code, out, _ = cli("forecast", "0-100", "--models", models, "--source", folder)
    assert (code, "shorter than the model's warm-up time" in out) == (0, True)


def test_without_a_folder_of_models_it_uses_production_of_the_registry(cli, models, arguments, tmp_path):
    registry = models.parent / "store"
    code, out, _ = cli("forecast", "2-102", "--json", "--registry", registry, *arguments[2:])
    assert (code, json.loads(out)["version"]) == (0, V1)
    (tmp_path / "empty").mkdir()
    code, _, err = cli("forecast", "2-102", "--registry", tmp_path / "empty", *arguments[2:])
    assert (code, "nothing is in production yet" in err) == (2, True)


def test_a_mapping_file_is_a_source_too(cli, models, prometheus, tmp_path, monkeypatch):
    (tmp_path / "links.yaml").write_text(yaml.safe_dump({"url": prometheus, **MAPPING}))
    monkeypatch.setattr("time.time", lambda: at(300) + 5.0)
    words = ("--models", models, "--source", "links.yaml")
    code, out, _ = cli("forecast", "3-4", "--json", *words)
    assert (code, json.loads(out)["newest_sample_at"]) == (0, "2026-11-02T05:00:00+00:00")
    code, _, err = cli("forecast", "3-5", *words)
    assert (code, "3-5: no such link" in err, "the closest are 3-4" in err) == (2, True, True)


def test_the_newest_row_of_a_partitioned_folder_is_found_without_opening_old_days(tmp_path, rows):
    for day, first in (("2026-10-01", 0), ("2026-10-02", 10), ("2026-10-03", 5)):
        (tmp_path / f"date={day}").mkdir()
        pq.write_table(rows.slice(first, 3), tmp_path / f"date={day}" / "part-0.parquet")
    (tmp_path / "date=2026-10-01" / "part-0.parquet").write_bytes(b"not opened")
    expected = rows["timestamp"][12].as_py()
    assert FolderSource(open_store(str(tmp_path))).newest_at() == expected
