"""From a day's document to the people on call: one incident while the model in production stays too inaccurate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bwpredict.alerting import incidents
from bwpredict.alerting.alerts import Incident, limit_findings
from bwpredict.store.base import Store

SUBJECT = "bandwidth_model"


def notify(store: Store, urls: Sequence[str], document: Mapping[str, Any], *, link: str, now: datetime) -> bool:
    """Tell of the document's alarms, or that they are over; True if something was sent and taken.

    `link` is where to read more: the run, or the document.
    """
    if document["alarm"]:
        return incidents.report(store, urls, incident(document, link), now=now)
    version, day = document["production"]["version"], document["day"]
    what = f"on {day}, {version} was within tolerance on every target: {link}"
    return incidents.recover(store, urls, SUBJECT, what, now=now)


def incident(document: Mapping[str, Any], link: str) -> Incident:
    """The alarms of a day as one incident."""
    alarms = [test for test in document["tests"] if test["alarm"]]
    names = [test["id"] for test in alarms]
    production = document["production"]
    version, since = production["version"], min(test["short_since"] or document["day"] for test in alarms)
    return Incident(
        subject=SUBJECT,
        cause=f"{version}: {' '.join(names)}",
        title=f"{version} has got worse: {', '.join(names)}",
        what=f"a sequential test shows a sustained drop of {version} in production: {', '.join(names)}",
        since=datetime.fromisoformat(since).replace(tzinfo=UTC),
        measured="; ".join(limit_findings([_measured(test) for test in alarms])),
        production=f"{version} since {production['since']}, unchanged: the monitor never moves production",
        to_do=f"look at the drift and the figures of {document['day']}; if the network has changed, retrain; "
        f"if only the model is at fault, run `bwpredict rollback`. {link}",
    )


def _measured(test: Mapping[str, Any]) -> str:
    value = "unknown" if test["value"] is None else f"{test['value']:.3f}"
    return (
        f"{test['id']} {value} (tolerated {test['tolerated']:.3f}),"
        f" evidence {test['total']:,.0f} (threshold {test['threshold']:,.0f})"
    )
