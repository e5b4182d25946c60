"""The example of a DAG that waits for a new model: it believes `production.json`, whatever event started it."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

from published_versions import published_months

from bwpredict.registry.promotion import rollback
from bwpredict.store.factory import open_store

FILE = Path(__file__).resolve().parents[2] / "dags" / "bandwidth_model_announced.py"


def test_it_tells_of_what_is_in_production_when_it_runs(tmp_path, monkeypatch):
    uri = str(tmp_path / "registry")
    first, last = published_months(uri, tmp_path, 2)
    monkeypatch.setenv("BWPREDICT_REGISTRY", uri)
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tell = module.bandwidth_model_announced().get_task("tell").python_callable
    assert tell()["version"] == last.version
    rollback(open_store(uri), promoted_by="test", now=datetime(2026, 12, 1, tzinfo=UTC))
    told = tell()  # for the event of `last`, which comes late
    assert (told["version"], told["kind"]) == (first.version, "rollback")
