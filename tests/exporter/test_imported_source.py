"""Live forecasts of imported telemetry: what it lacks, and its clock, are as a training reads them."""

import json
from datetime import UTC, datetime

import pytest

from bwpredict import schema
from bwpredict.datasets.file_mapping import FileMapping
from bwpredict.datasets.frame import FILL_VALUE
from bwpredict.exporter.sources import FolderSource, minutes_of
from bwpredict.ingestion.files import import_files
from bwpredict.store.local import LocalStore

MIDNIGHT = int(datetime(2026, 10, 21, tzinfo=UTC).timestamp())


@pytest.fixture
def store(tmp_path):
    """Telemetry of 90 minutes of one link in Berlin, without some features."""
    rows = [f"{MIDNIGHT + 60 * minute},1,2,100,20,0.01,1" for minute in range(90)]
    header = "timestamp,node_id,peer_id,throughput_mbps,rtt_ms,packet_loss,jitter_ms"
    (tmp_path / "probes.csv").write_text("\n".join([header, *rows]))
    store = LocalStore(tmp_path / "telemetry")
    mapping = FileMapping.model_validate({"time_zone": "Europe/Berlin"})
    import_files([tmp_path / "probes.csv"], mapping, store, now=datetime(2026, 11, 1, tzinfo=UTC))
    return store


def test_a_feature_that_the_files_lack_is_the_constant_and_the_hour_is_that_of_the_zone(store):
    found = list(minutes_of(FolderSource(store).read_day(MIDNIGHT, MIDNIGHT + 86_400)))
    first = dict(zip(schema.FEATURES, found[0].values[0].tolist(), strict=True))
    assert (len(found), found[0].links, found[0].invalid) == (90, [(1, 2)], 0)
    assert (first["throughput_mbps"], first["queue_depth"], first["retransmits"]) == (100, FILL_VALUE, FILL_VALUE)
    assert (first["time_of_day"], first["day_of_week"]) == (2, 3)


def test_the_description_is_read_again_only_when_it_has_changed(store, monkeypatch):
    source, read, asked = FolderSource(store), store.read, []
    monkeypatch.setattr(store, "read", lambda key: asked.append(key) or read(key))

    def jitter():
        (minute, *_) = minutes_of(source.read_day(MIDNIGHT, MIDNIGHT + 120))
        return minute.values[0, schema.FEATURES.index("jitter_ms")]

    assert (jitter(), jitter(), asked) == (1, 1, ["telemetry.json"])
    path = store.root / "telemetry.json"
    document = json.loads(path.read_text())
    document["absent_columns"].append("jitter_ms")
    path.write_text(json.dumps(document))
    assert (jitter(), jitter(), asked) == (FILL_VALUE, FILL_VALUE, ["telemetry.json"] * 2)
