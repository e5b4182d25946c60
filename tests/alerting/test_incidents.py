"""What lasts is told once, what recovers is told too: received on a real HTTP endpoint and a real SMTP server."""

import email
import email.policy
import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.controller import Controller

from bwpredict.alerting.alerts import Incident
from bwpredict.alerting.incidents import REMIND_AFTER, recover, report
from bwpredict.store.factory import open_store

NOW = datetime(2026, 11, 1, 0, 14, tzinfo=UTC)
INCIDENT = Incident(
    subject="bandwidth_predictor_monitor",
    cause="accuracy rtt_ms",
    title="rtt_ms: forecasts got worse",
    what="the error of rtt_ms rose",
    since=NOW,
    measured="evidence 250, threshold 200",
    production="v20261001_000000, unchanged",
    to_do="read the monitor's report",
)
DAY = timedelta(days=1)


@pytest.fixture
def titles(receiver):
    return lambda: [note["title"] for note in receiver.received]


def test_the_same_cause_is_told_once_on_retries_and_day_after_day(store, receiver, titles):
    sent = [report(store, [receiver.url()], INCIDENT, now=NOW + day * DAY) for day in (0, 0, 1, 2, 6)]
    assert sent == [True, False, False, False, False]
    assert titles() == ["rtt_ms: forecasts got worse"]


def test_what_lasts_is_told_again_after_a_week_with_its_true_beginning(local_store, receiver, titles):
    for now in (NOW, NOW + REMIND_AFTER):
        assert report(local_store, [receiver.url()], replace(INCIDENT, since=now), now=now)
    assert titles()[1] == "Still: rtt_ms: forecasts got worse"
    assert "Since: 2026-11-01 00:14 UTC" in receiver.received[1]["message"]


def test_another_cause_or_another_subject_is_told_at_once(local_store, receiver):
    other_cause = replace(INCIDENT, cause="accuracy jitter_ms")
    other_subject = replace(INCIDENT, subject="bandwidth_predictor_retrain")
    assert all(report(local_store, [receiver.url()], one, now=NOW) for one in (INCIDENT, other_cause, other_subject))


def test_what_recovers_is_told_once_and_may_be_told_again_when_it_returns(store, receiver, titles):
    url = [receiver.url()]
    report(store, url, INCIDENT, now=NOW)
    assert recover(store, url, INCIDENT.subject, "as accurate as before.", now=NOW + DAY)
    assert not recover(store, url, INCIDENT.subject, "as accurate as before.", now=NOW + DAY)
    assert report(store, url, INCIDENT, now=NOW + 2 * DAY)
    assert titles() == [INCIDENT.title, f"Recovered: {INCIDENT.title}", INCIDENT.title]
    good_news = receiver.received[1]
    assert good_news["type"] == "success"
    assert "24 h 0 min" in good_news["message"]


def test_what_was_never_ill_does_not_recover(local_store, receiver):
    assert not recover(local_store, [receiver.url()], "monitor", "fine.", now=NOW)
    assert receiver.received == []


def test_an_alert_that_nobody_took_is_sent_again_and_its_recovery_is_not(local_store, receiver):
    receiver.status = 500
    assert not report(local_store, [receiver.url()], INCIDENT, now=NOW)
    assert json.loads(local_store.read(f"alerts/{INCIDENT.subject}.json")[0])["notified_at"] is None
    receiver.status = 200
    assert report(local_store, [receiver.url()], INCIDENT, now=NOW)
    receiver.status = 500
    assert not recover(local_store, [receiver.url()], INCIDENT.subject, "fine.", now=NOW)
    receiver.status = 200
    assert recover(local_store, [receiver.url()], INCIDENT.subject, "fine.", now=NOW)


def test_a_store_that_fails_hides_no_alert(s3_environment, receiver):
    no_bucket = open_store("s3://no-such-bucket-here/registry")
    assert report(no_bucket, [receiver.url()], INCIDENT, now=NOW)
    assert report(no_bucket, [receiver.url()], INCIDENT, now=NOW)


def test_a_document_that_is_broken_is_written_anew(local_store, receiver):
    local_store.write(f"alerts/{INCIDENT.subject}.json", b"{", if_etag=None)
    assert report(local_store, [receiver.url()], INCIDENT, now=NOW)
    assert not report(local_store, [receiver.url()], INCIDENT, now=NOW)


class Mailbox:
    """Keeps what an SMTP server is handed."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 - the name that aiosmtpd calls
        self.messages.append((envelope.rcpt_tos, envelope.content))
        return "250 OK"


@pytest.fixture
def mail():
    """A real SMTP server without TLS: its Apprise URL, and its mailbox."""
    mailbox = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield f"mailto://127.0.0.1:{port}/?from=airflow@example.org&to=oncall@example.org&mode=insecure", mailbox
    controller.stop()


def test_alert_and_recovery_arrive_by_mail(local_store, mail):
    url, mailbox = mail
    report(local_store, [url], INCIDENT, now=NOW)
    report(local_store, [url], INCIDENT, now=NOW + DAY)
    recover(local_store, [url], INCIDENT.subject, "as accurate as before.", now=NOW + 2 * DAY)
    assert [to for to, _ in mailbox.messages] == [["oncall@example.org"]] * 2
    first, second = (email.message_from_bytes(content, policy=email.policy.default) for _, content in mailbox.messages)
    assert first["Subject"] == INCIDENT.title
    assert second["Subject"] == f"Recovered: {INCIDENT.title}"
    text = first.get_body(("plain", "html")).get_content()
    assert text.splitlines()[:5] == INCIDENT.alert.body.splitlines()
