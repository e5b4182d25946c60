"""Every command of the tutorial, typed as it stands there."""

import re
from pathlib import Path

import pytest
import tutorial

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_tutorial_goes_from_a_csv_file_to_a_forecast(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    _, csv, imported, retrained, status, forecast = tutorial.run(tmp_path)
    assert "when,source,destination,mbit" in csv
    assert "178,560 rows of 4 links" in imported
    assert "Model card: " in retrained
    assert "in production" in status
    assert "+60 min" in forecast


def test_pictures_load_nothing_from_elsewhere():
    pictures = list((ROOT / "docs" / "images").glob("tutorial-*.svg"))
    assert pictures
    assert [one.name for one in pictures if re.search(r"url\(\"http|@font-face|href=\"http", one.read_text())] == []
