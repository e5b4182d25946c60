"""From telemetry that arrives minute by minute to mail about it, with the files that docker-compose.yaml mounts.

The exporter, Prometheus, Alertmanager and the Pushgateway are the real ones. A minute lasts a second: the exporter's
clock runs 60 times as fast, and every time span of the configuration files and of the dashboards is divided by 60.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from aiosmtpd.controller import Controller
from fixtures_prometheus import free_port, run_prometheus, run_server
from monitored import DAY, FIRST, NOW, publish_three
from sample_documents import sample_comparison, sample_decision
from test_alert_rules import FOLDER
from test_dashboard import QUERIES, filled_in
from test_exporter_command import eventually, get

from bwpredict import schema
from bwpredict.exporter.exporter import Exporter
from bwpredict.exporter.server import serving
from bwpredict.exporter.sources import open_source
from bwpredict.exporter.thresholds import load_thresholds
from bwpredict.monitoring.daily import monitor_day
from bwpredict.monitoring.prometheus import push, push_decision
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

FASTER = 60
CONGESTED, SILENT = "0-100", "2-102"
HISTORY_MINUTES, CONGESTED_RTT_MS = 120, 20_000.0


class FastEvent(threading.Event):
    """An event whose timeouts pass faster."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(None if timeout is None else timeout / FASTER)


@dataclass
class Inbox:
    """What a mail server is handed: recipient and text."""

    mails: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the name that aiosmtpd calls
        parsed = message_from_bytes(envelope.content, policy=policy.default)
        text = f"{parsed['subject']}\n{parsed.get_body(('html', 'plain')).get_content()}"
        self.mails += [(recipient, text) for recipient in envelope.rcpt_tos]
        return "250 OK"

    def has(self, recipient: str, *words: str) -> bool:
        return any(to == f"{recipient}@localhost" and all(word in text for word in words) for to, text in self.mails)


@dataclass
class Live:
    """The running set."""

    prometheus: str
    inbox: Inbox

    def ask(self, query: str) -> list[dict[str, Any]]:
        return json.loads(get(f"{self.prometheus}/api/v1/query?{urlencode({'query': query})}"))["data"]["result"]


def shortened(text: str) -> str:
    """Time spans of Prometheus's format, divided by 60."""
    spans = {"s": ("ms", 1000 / FASTER), "m": ("s", 1), "h": ("m", 1), "d": ("m", 24)}

    def span(match: re.Match[str]) -> str:
        unit, factor = spans[match[3]]
        return f"{match[1]}{round(int(match[2]) * factor)}{unit}"

    return re.sub(r"((?:interval|timeout|wait|for): |offset |\[)(\d+)([smhd])\b", span, text)


@pytest.fixture(scope="module")
def live(models, rows, tmp_path_factory) -> Iterator[Live]:
    """The set, while samples arrive: in the end one link is congested, and another one is silent."""
    for program in ("prometheus", "prometheus-alertmanager", "prometheus-pushgateway"):
        if not shutil.which(program):
            pytest.skip(f"needs {program} (make test-integration installs it)")
    folder = tmp_path_factory.mktemp("live")
    with ExitStack() as stack:
        inbox = Inbox()
        mail = Controller(inbox, hostname="127.0.0.1", port=free_port())
        mail.start()
        stack.callback(mail.stop)
        trouble = threading.Event()
        exporter = stack.enter_context(following(models, rows, folder / "telemetry", trouble))
        served = stack.enter_context(serving(exporter, load_thresholds(FOLDER / "thresholds.yml"), "127.0.0.1:0"))
        ports = {"pushgateway": free_port(), "alertmanager": free_port()}
        for name in ("prometheus.yml", "alertmanager.yml", "alerts.yml"):
            text = shortened((FOLDER / name).read_text())
            for there, port in {"mail": mail.port, "exporter": served, **ports}.items():
                text = re.sub(rf"\b{there}:\d+", f"127.0.0.1:{port}", text)
            (folder / name).write_text(text)
        for name, port in ports.items():
            stack.enter_context(run_server(folder, command_of(name, folder), port))
        push_monitored(f"http://127.0.0.1:{ports['pushgateway']}", folder)
        live = Live(stack.enter_context(run_prometheus(folder, (folder / "prometheus.yml").read_text())), inbox)
        eventually(lambda: live.ask("count by (link) (bwpredict_forecast)"), lambda links: len(links) == 3)
        trouble.set()
        yield live


@contextmanager
def following(models: Path, rows: pa.Table, folder: Path, trouble: threading.Event) -> Iterator[Exporter]:
    """The exporter at work on samples that arrive."""
    folder.mkdir()
    write_minutes(rows, folder, 0, HISTORY_MINUTES, trouble=False)
    exporter, stop = Exporter(models, open_source(str(folder))), FastEvent()
    begun, first = time.time(), rows["timestamp"][0].as_py() + 60 * HISTORY_MINUTES
    threads = [
        threading.Thread(
            target=lambda: exporter.follow(stop, now=lambda: first + FASTER * (time.time() - begun)), daemon=True
        ),
        threading.Thread(target=lambda: arrive(rows, folder, stop, trouble), daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield exporter
    stop.set()
    for thread in threads:
        thread.join(20)


def arrive(rows: pa.Table, folder: Path, stop: FastEvent, trouble: threading.Event) -> None:
    """Each minute, that minute's samples as a file."""
    minute = HISTORY_MINUTES
    while not stop.is_set():
        write_minutes(rows, folder, minute, minute + 1, trouble=trouble.is_set())
        minute += 1
        stop.wait(schema.CADENCE_SECONDS)


def write_minutes(rows: pa.Table, folder: Path, minute: int, past: int, *, trouble: bool) -> None:
    """The samples of [minute, past); in trouble one link is congested and one has none."""
    begin = rows["timestamp"][0].as_py()
    frame = rows.to_pandas()
    frame = frame[frame["timestamp"].between(begin + 60 * minute, begin + 60 * past - 1)]
    if trouble:
        label = frame["node_id"].astype(str) + "-" + frame["peer_id"].astype(str)
        frame.loc[label == CONGESTED, "rtt_ms"] = CONGESTED_RTT_MS
        frame = frame[label != SILENT]
    written = folder / f".part-{minute}"
    pq.write_table(pa.Table.from_pandas(frame, schema=rows.schema, preserve_index=False), written)
    written.rename(folder / f"part-{minute}.parquet")


def command_of(name: str, folder: Path) -> list[str]:
    """The compose file's command, with Debian's name of the program and folders of this test."""
    words = yaml.safe_load((FOLDER.parent / "docker-compose.yaml").read_text())["services"][name]["command"]
    here = [re.sub(r"=/(etc/bwpredict/)?", f"={folder}/", word) for word in words]
    return [f"prometheus-{name}", *here, *(["--cluster.listen-address="] if name == "alertmanager" else [])]


def push_monitored(gateway: str, folder: Path) -> None:
    """What the monitor and a retraining leave at the Pushgateway, on a day on which an alarm stands."""
    write_partitioned(FleetConfig(links=2, days=8, start=FIRST.isoformat(), seed=3), folder / "month")
    registry = open_store(str(folder / "registry"))
    publish_three(registry, folder)
    document = monitor_day(registry, open_store(str(folder / "month")), DAY, folder / "work", now=NOW)
    document["tests"][0]["alarm"] = True
    document["coverage"] = {"level": 0.9, "per_target": dict.fromkeys(schema.TARGETS, 0.88)}
    push(document, gateway)
    push_decision(sample_decision(sample_comparison()), gateway)


def test_the_prometheus_of_the_compose_file_scrapes_exporter_monitor_and_gate(live):
    def jobs(query: str) -> set[str]:
        return {one["metric"]["job"] for one in live.ask(query)}

    eventually(lambda: jobs("up == 1"), lambda up: up >= {"bwpredict", "pushgateway"})
    expected = {"bwpredict", "bwpredict_monitor", "bwpredict_gate"}
    eventually(lambda: jobs('{__name__=~"bwpredict_.*"}'), lambda found: found == expected)


def test_a_link_that_will_exceed_its_limit_is_told_by_mail(live):
    eventually(lambda: live.inbox.has("network-operators", "LinkRttWillExceedLimit", CONGESTED), bool)
    assert not live.inbox.has("network-operators", "LinkRttWillExceedLimit", "1-101")


def test_a_link_that_falls_silent_is_told_by_mail(live):
    eventually(lambda: live.inbox.has("network-operators", "LinkWithoutForecast", SILENT), bool)


def test_a_model_that_has_got_worse_is_told_to_its_owners_alone(live):
    eventually(lambda: live.inbox.has("model-owners", "ModelDegraded", "skill"), bool)
    assert not live.inbox.has("network-operators", "ModelDegraded")


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_dashboards_has_an_answer(live, query):
    eventually(lambda: live.ask(shortened(filled_in(query))), bool, seconds=30)
