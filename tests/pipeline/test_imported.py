"""From a file with its own names, cadence and gaps to a published model or a clear decision."""

import gzip
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bwpredict.cli.main import app
from bwpredict.config import TrainingConfig
from bwpredict.documents import read_document
from bwpredict.errors import GateRejected
from bwpredict.pipeline.standalone import prepare
from bwpredict.registry.promotion import read_production
from bwpredict.store.factory import open_store

SMALL = ["--epochs", "1", "--windows-per-epoch", "512", "--validation-windows", "200", "--batch-size", "64"]
OCTOBER = 1_790_812_800
"""2026-10-01T00:00Z."""
DAY_STEPS = 360


def recording(path: Path, days: int = 10) -> Path:
    """Named probes, RTT in seconds, four minutes apart, empty cells, an outage."""
    lines = ["when,probe,rtt_s,lost"]
    for place, name in enumerate(("ams", "nyc", "tyo")):
        noise = np.random.default_rng(place)
        wander = 0.0
        for step in range(days * DAY_STEPS):
            wander = 0.97 * wander + noise.normal()
            if 4 * DAY_STEPS <= step < 4 * DAY_STEPS + 90:
                continue
            daily = 5 * math.sin(2 * math.pi * step / DAY_STEPS)
            rtt = "" if step % 211 == 9 else f"{(40 * (place + 1) + daily + 0.5 * wander) / 1000:.6f}"
            lines.append(f"{OCTOBER + 240 * step},{name},{rtt},{'' if not rtt else '0'}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def run(*words: str):
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    mapping = folder / "mapping.yaml"
    mapping.write_text(
        "time: when\n"
        "time_zone: {column: probe, names: {ams: Europe/Amsterdam, nyc: America/New_York, tyo: Asia/Tokyo}}\n"
        "columns:\n  link: probe\n  rtt_ms: {column: rtt_s, unit: s}\n"
        "constants: {transport_type: udp}\n"
    )
    file = recording(folder / "probes.csv.gz")
    asked = ("import", str(file), "--output", str(folder / "telemetry"), "--mapping", str(mapping))
    assert run(*asked).exit_code == 0
    return folder / "telemetry"


@pytest.mark.slow
def test_an_imported_recording_is_validated_trained_and_decided_on(store, tmp_path):
    policy = tmp_path / "mine.yaml"
    policy.write_text(
        "name: mine\nminimum_average_correlation: null\nmaximum_average_mape_percent: null\n"
        "minimum_accuracy_percent: null\nminimum_skill: -0.9\nwithin_link_correlation_margin: null\n"
        "maximum_latency_p99_ms: 1000\n"
    )
    places = ["--telemetry", str(store), "--registry", str(tmp_path / "registry"), "--work", str(tmp_path / "work")]
    ended = run("retrain", "--month", "2026-10", *places, "--policy", str(policy), *SMALL)
    (area,) = (tmp_path / "work").glob("manual-*")
    validation = read_document(area / "validation/result.json", "validation")
    assert validation["passed"], validation["checks"]
    columns = {check["column"] for check in validation["checks"]}
    assert not columns & {"throughput_mbps", "jitter_ms", "region", "bytes_tx"}
    assert {"rtt_ms", "time_of_day", "transport_type"} <= columns
    decision = read_document(area / "decision.json", "decision")
    assert (ended.exception is None) == (decision["outcome"] == "bootstrap"), decision["reason"]
    assert decision["outcome"] == "bootstrap" or isinstance(ended.exception, GateRejected)
    card = (area / "model_card.html").read_text()
    assert "region, az, link_type, jitter_ms" in card
    assert "240 s" in card
    metadata = read_document(next(area.glob("model_metadata_*.json")), "model_metadata")
    assert metadata["performance_metrics"]["absent_targets"] == ["throughput_mbps", "packet_loss", "jitter_ms"]
    assert metadata["contract"]["cadence_seconds"] == 240
    assert metadata["contract"]["calendar"]["time_zone"] == "of each link"
    if decision["outcome"] == "bootstrap":
        assert read_production(open_store(str(tmp_path / "registry"))).version == metadata["version"]


def test_train_reads_the_imported_folder_as_retrain_does(store):
    now = datetime(2026, 11, 28, tzinfo=UTC)
    prepared = prepare(store, TrainingConfig(), split_by="calendar", now=now, code_version="test")
    frame = prepared.split["train"].frame
    assert (frame.cadence_seconds, len(frame.links)) == (240, 3)
    assert {"throughput_mbps", "packet_loss", "jitter_ms"} <= set(frame.filled)
    assert len(frame.calendar.link_zones) == 3


def test_other_commands_read_the_imported_days(store, tmp_path):
    suggested = run(
        "policy", "suggest", "--telemetry", str(store), "--month", "2026-10", "--output", str(tmp_path / "p.yaml")
    )
    assert suggested.exit_code == 0, suggested.exception
