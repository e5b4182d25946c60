"""The metrics are what Prometheus reads, under the names that the docs give."""

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from monitored import DAY, NOW
from prometheus_client.parser import text_string_to_metric_families
from sample_documents import sample_comparison, sample_decision

from bwpredict.errors import ConfigError, StoreUnreachableError
from bwpredict.monitoring.daily import monitor_day, publish_metrics
from bwpredict.monitoring.prometheus import METRICS, OUTCOMES, push, push_decision, text

DOCS = Path(__file__).parents[2] / "docs" / "monitoring.md"


@pytest.fixture(scope="module")
def document(telemetry, tmp_path_factory):
    from monitored import publish_three

    from bwpredict.store.factory import open_store

    folder = tmp_path_factory.mktemp("exposition")
    store = open_store(str(folder / "registry"))
    publish_three(store, folder)
    return monitor_day(store, telemetry, DAY, folder / "work", now=NOW)


def samples(document, **options):
    families = text_string_to_metric_families(text(document, **options))
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def test_the_figures_of_the_document_are_the_samples(document):
    found = samples(document)
    figures = document["models"]["production"]["per_target"]["rtt_ms"]
    assert found["bwpredict_forecast_mae", "default", "production", "rtt_ms"] == figures["mae"]
    assert found["bwpredict_canary_share_ratio", "default"] == 0.4
    assert found["bwpredict_canary_verdict", "default", "undecided"] == 1
    assert found["bwpredict_alarm", "default", "skill.rtt_ms"] == 0
    assert found["bwpredict_monitored_day_timestamp_seconds", "default"] == 1793664000


def test_an_undefined_figure_has_no_sample(document):
    empty = {**document, "coverage": None, "canary": None}
    empty["drift"] = {"reference_days": [], "per_feature": {"rtt_ms": {"psi": None, "verdict": "unknown"}}}
    names = {name for name, *_ in samples(empty)}
    assert not names & {"bwpredict_feature_psi", "bwpredict_interval_level_ratio", "bwpredict_canary_verdict"}
    assert samples(empty)["bwpredict_canary_share_ratio", "default"] == 0


def test_prometheus_itself_finds_no_fault(document):
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (scripts/services.sh installs it)")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text(document), capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_every_name_is_documented_and_every_documented_name_exists():
    assert set(re.findall(r"`(bwpredict_[a-z_]+)[`{]", DOCS.read_text())) >= METRICS.keys()
    assert set(re.findall(r"^\| `(bwpredict_[a-z_]+)[`{]", DOCS.read_text(), re.MULTILINE)) == METRICS.keys()


def test_each_model_has_a_file_of_its_own(document, tmp_path):
    for model in ("default", "emea"):
        publish_metrics(document, tmp_path / "bwpredict.prom", "", model=model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bwpredict.prom", "bwpredict__emea.prom"]
    assert 'model="emea"' in (tmp_path / "bwpredict__emea.prom").read_text()


@pytest.fixture
def gateway():
    """A real HTTP server in the place of a Pushgateway: its URL, and what it was sent."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            received.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(500 if "refused" in self.path else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_metrics_are_pushed_under_job_and_model(document, gateway):
    url, received = gateway
    push(document, url)
    ((path, body),) = received
    assert path == "/metrics/job/bwpredict_monitor/model/default"
    assert body == text(document)


def test_a_decision_is_pushed_with_its_outcome_and_the_number_of_its_checks(gateway):
    url, received = gateway
    decision = sample_decision(sample_comparison())
    push_decision(decision, url, model="emea")
    ((path, body),) = received
    assert path == "/metrics/job/bwpredict_gate/model/emea"
    found = [sample for family in text_string_to_metric_families(body) for sample in family.samples]
    outcomes = {one.labels["outcome"]: one.value for one in found if one.name == "bwpredict_gate_outcome"}
    assert outcomes == dict.fromkeys(OUTCOMES, 0) | {decision["outcome"]: 1}
    assert sum(one.value for one in found if one.name == "bwpredict_gate_checks") == len(decision["checks"])
    assert {one.name for one in found} <= METRICS.keys()


@pytest.mark.parametrize(
    ("url", "error"),
    [("pushgateway:9091", ConfigError), ("http://127.0.0.1:1", StoreUnreachableError), ("ftp://x", ConfigError)],
)
def test_a_gateway_that_is_none_is_one_sentence(document, url, error):
    with pytest.raises(error, match=re.escape(url)):
        push(document, url)


def test_a_gateway_that_refuses_is_one_sentence(document, gateway):
    with pytest.raises(StoreUnreachableError, match="did not take the metrics"):
        push(document, f"{gateway[0]}/refused")


def test_a_port_that_is_no_number_is_one_sentence_without_the_password():
    with pytest.raises(StoreUnreachableError, match=r"^http://gateway:port: .*check its URL") as told:
        push_decision(sample_decision(sample_comparison()), "http://user:planted@gateway:port")
    assert "planted" not in str(told.value)
