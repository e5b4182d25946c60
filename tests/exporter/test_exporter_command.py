"""`bwpredict exporter` as a person runs it: as a process, with a signal to stop it, and with its mistakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from fixtures_prometheus import free_port, run_prometheus, wait_for
from models import publish_model
from monitored_links import LINKS, MAPPING, METRICS, at, value
from prometheus_client.parser import text_string_to_metric_families

from bwpredict.exporter.exporter import Exporter, board_path
from bwpredict.exporter.sources import open_source
from bwpredict.serving.delivery import deliver
from bwpredict.store.factory import open_store

REPOSITORY = str(Path(__file__).resolve().parents[2])


@contextmanager
def running(folder, *options):
    """The process, the URL it serves on, and the file that it logs to."""
    port = free_port()
    command = [sys.executable, "-m", "bwpredict", "exporter", "--listen", f"127.0.0.1:{port}", *map(str, options)]
    log = folder / "exporter.log"
    with log.open("w") as file:
        environment = os.environ | {"PYTHONPATH": REPOSITORY}
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        wait_for(f"http://127.0.0.1:{port}/-/healthy", process, log)
        yield process, f"http://127.0.0.1:{port}", log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(20)


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own server
        return answer.read().decode()


def eventually(ask, wanted, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if wanted(found := ask()):
                return found
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {ask()}")


def samples(text, name):
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_replay_serves_the_last_minute_until_a_signal_saves_its_state(models, write, tmp_path, number, frame):
    folder, state = write(0, 200), tmp_path / "states" / "state.npz"
    (tmp_path / "limits.yaml").write_text("thresholds: {rtt_ms: [15, 100]}\n")
    options = ("--models", models, "--source", folder, "--replay", "--state", state)
    with running(tmp_path, *options, "--thresholds", tmp_path / "limits.yaml") as (process, url, log):
        eventually(lambda: get(f"{url}/-/ready"), "ready\n".__eq__)
        text = get(f"{url}/metrics")
        process.send_signal(number)
        assert process.wait(15) == 0
        assert "Traceback" not in log.read_text()
    assert len(samples(text, "bwpredict_forecast")) == 3 * 4 * 5 * 3
    assert len(samples(text, "bwpredict_exceedance_probability")) == 3 * 5 * 2
    assert samples(text, "bwpredict_exporter_links_known") == {(): 3}
    assert board_path(state).is_file()
    restored = Exporter(models, open_source(str(folder)), state=state)
    assert restored.figures.newest_at == frame.timestamps[0] + 199 * 60
    live = Exporter(models, open_source(str(folder)))
    live.tick(float(restored.figures.newest_at))
    assert restored.figures.quantiles.tolist() == live.figures.quantiles.tolist()


def test_a_prometheus_scrapes_it_and_answers_the_queries_of_the_documentation(models, write, tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("needs Prometheus (scripts/services.sh installs it)")
    with running(tmp_path, "--models", models, "--source", write(0, 60), "--replay") as (_, url, _log):
        job = {"job_name": "bwpredict", "scrape_interval": "1s"}
        job["static_configs"] = [{"targets": [url.removeprefix("http://")]}]
        eventually(lambda: get(f"{url}/-/ready"), "ready\n".__eq__)
        (tmp_path / "server").mkdir()
        with run_prometheus(tmp_path / "server", yaml.safe_dump({"scrape_configs": [job]})) as server:
            query = urlencode({"query": "count by (link) (bwpredict_forecast)"})
            found = eventually(
                lambda: json.loads(get(f"{server}/api/v1/query?{query}"))["data"]["result"], lambda rows: len(rows) == 3
            )
    assert {each["metric"]["link"]: each["value"][1] for each in found} == dict.fromkeys(
        ("0-100", "1-101", "2-102"), "60"
    )


def test_samples_come_from_a_prometheus_with_the_mapping_of_collect(models, prometheus, tmp_path):
    mapping = tmp_path / "links.yaml"
    mapping.write_text(yaml.safe_dump({"url": prometheus, **MAPPING}))
    exporter = Exporter(models, open_source(str(mapping)))
    exporter.tick(at(300) + 5.0)
    assert exporter.figures.newest_at == at(300)
    assert exporter.figures.links == [f"{node}-{peer}" for node, peer in LINKS]
    for row, link in enumerate(LINKS):
        names = ("link_throughput_mbps", "link_rtt_seconds", "link_loss", "link_jitter_ms")
        expected = [value(name, link, 300) * (1000 if "seconds" in name else 1) for name in names]
        assert exporter.figures.actual[row].tolist() == pytest.approx(expected, rel=1e-6)
    assert set(names) <= set(METRICS)


def test_samples_come_from_a_database_with_the_mapping_of_collect(models, rows, tmp_path, frame):
    import sqlalchemy as sa

    from bwpredict import schema

    database = f"sqlite:///{tmp_path}/links.db"
    named = rows.slice(0, 3 * 50).to_pandas()
    missing = {column.name: "x" if column.kind in ("text", "category") else 0 for column in schema.COLUMNS}
    named.assign(**{name: one for name, one in missing.items() if name not in named}).to_sql(
        "samples", sa.create_engine(database), index=False
    )
    (tmp_path / "sql.yaml").write_text(f"url: {database}\ntable: samples\n")
    exporter = Exporter(models, open_source(str(tmp_path / "sql.yaml")))
    exporter.tick(float(frame.timestamps[0] + 49 * 60 + 5))
    assert (len(exporter.figures.links), exporter.figures.newest_at) == (3, frame.timestamps[0] + 49 * 60)


@pytest.fixture
def arguments(models, write):
    return {"--models": models, "--source": write(0, 5)}


@pytest.mark.parametrize(
    ("changes", "files", "said"),
    [
        ({"--models": "nowhere"}, {}, "nowhere: holds no model; run `bwpredict pull --dest nowhere` first."),
        ({"--source": "nowhere"}, {}, "nowhere: is neither a mapping file (.yaml) nor a telemetry folder."),
        (
            {"--source": "a.yaml"},
            {},
            "a.yaml: cannot be read as a YAML mapping of telemetry: No such file or directory.",
        ),
        ({"--source": "a.yaml"}, {"a.yaml": "hello: 1"}, "a.yaml: has neither `metrics`"),
        ({"--listen": "here"}, {}, "--listen here: expected HOST:PORT, for example 127.0.0.1:9108."),
        ({"--listen": "127.0.0.1:99999"}, {}, "--listen 127.0.0.1:99999: expected HOST:PORT"),
        ({"--listen": "192.0.2.1:9108"}, {}, "--listen 192.0.2.1:9108: cannot listen on this address"),
        ({"--thresholds": "t.yaml"}, {}, "t.yaml: cannot be read as a YAML thresholds file"),
        ({"--thresholds": "t.yaml"}, {"t.yaml": "thresholds: {rtt: [5]}"}, "rtt: unknown target; expected one of"),
        ({"--thresholds": "t.yaml"}, {"t.yaml": "thresholds: {rtt_ms: [-5]}"}, "rtt_ms: expected a list of values"),
        ({"--thresholds": "t.yaml"}, {"t.yaml": "thresholds: {packet_loss: [2]}"}, "values from 0 to 1"),
        ({"--thresholds": "t.yaml"}, {"t.yaml": "thresholds: {}"}, "t.yaml: thresholds"),
        ({"--thresholds": "t.yaml"}, {"t.yaml": "limits: {}"}, "t.yaml: thresholds: Field required"),
    ],
)
def test_a_mistake_is_one_sentence(cli, arguments, tmp_path, changes, files, said):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    words = [str(each) for pair in {**arguments, **changes}.items() for each in pair]
    code, _, err = cli("exporter", *words)
    assert (code, said in err) == (2, True), err
    assert len(err.strip().splitlines()) == 1


def test_a_model_without_a_signature_is_refused_where_one_is_required(cli, arguments, tmp_path, monkeypatch):
    key = tmp_path / "key.pem"
    public = tmp_path / "key.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
    monkeypatch.setenv("BWPREDICT_TRUSTED_KEYS", str(public))
    words = [str(each) for pair in arguments.items() for each in pair]
    code, _, err = cli("exporter", *words, "--require-signature")
    assert (code, "is not signed" in err) == (2, True)


def test_it_needs_no_package_of_an_extra():
    heavy = ("torch", "matplotlib", "great_expectations", "airflow", "scipy", "sklearn", "optuna", "apprise")
    program = (
        "import sys, bwpredict.cli.main, bwpredict.exporter.server, bwpredict.exporter.sources,"
        " bwpredict.ingestion.prometheus, bwpredict.ingestion.sql\n"
        f"sys.exit(', '.join(name for name in {heavy} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_port_in_use_is_one_sentence(cli, arguments):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        words = [str(each) for pair in {**arguments, "--listen": listen}.items() for each in pair]
        code, _, err = cli("exporter", *words)
    assert (code, err) == (2, f"error: --listen {listen}: cannot listen on this address (Address already in use).\n")


def test_a_metric_that_the_prometheus_lacks_is_one_sentence(cli, models, prometheus, tmp_path):
    mapping = {"url": prometheus, **MAPPING, "metrics": MAPPING["metrics"] | {"jitter_ms": {"metric": "link_jiter_ms"}}}
    (tmp_path / "links.yaml").write_text(yaml.safe_dump(mapping))
    listen = f"127.0.0.1:{free_port()}"
    code, _, err = cli("exporter", "--models", models, "--source", "links.yaml", "--listen", listen)
    assert (code, "Did you mean 'link_jitter_ms'?" in err) == (2, True)


def test_a_prometheus_that_is_not_there_is_waited_for(models, tmp_path):
    (tmp_path / "links.yaml").write_text(yaml.safe_dump({"url": f"http://127.0.0.1:{free_port()}", **MAPPING}))
    with running(tmp_path, "--models", models, "--source", tmp_path / "links.yaml") as (process, url, log):
        eventually(log.read_text, lambda text: "does not answer" in text)
        assert samples(get(f"{url}/metrics"), "bwpredict_exporter_source_up") == {(): 0}
        process.terminate()
        assert process.wait(15) == 0


def test_a_replay_of_what_is_no_folder_is_one_sentence(cli, models, tmp_path):
    (tmp_path / "links.yaml").write_text(yaml.safe_dump({"url": "http://localhost:1", **MAPPING}))
    code, _, err = cli("exporter", "--models", models, "--source", "links.yaml", "--replay")
    assert (code, "--replay needs a telemetry folder" in err) == (2, True)


def test_a_replay_of_an_empty_folder_is_one_sentence(cli, models, tmp_path):
    (tmp_path / "empty").mkdir()
    options = ("--source", "empty", "--replay", "--listen", f"127.0.0.1:{free_port()}")
    code, _, err = cli("exporter", "--models", models, *options)
    assert (code, "holds no telemetry" in err) == (2, True)


def test_a_version_without_a_model_for_streams_is_one_sentence(cli, arguments, tmp_path):
    store = open_store(str(tmp_path / "windows"))
    publish_model(store, tmp_path, "v20261101_000000")
    deliver(store, tmp_path / "old")
    words = [str(each) for pair in {**arguments, "--models": "old"}.items() for each in pair]
    code, _, err = cli("exporter", *words)
    assert (code, "has no model for streams" in err) == (2, True)
