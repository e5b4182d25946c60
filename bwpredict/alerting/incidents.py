"""Report an incident once: a store remembers open incidents across workers, tries and days.

`alerts/<subject>.json` holds what is wrong now. The same cause is reported again after `REMIND_AFTER`, another
cause at once. When the subject has recovered, that is reported too, and the document is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bwpredict.alerting.alerts import Alert, Incident, send
from bwpredict.documents import decode_document, encode_document
from bwpredict.errors import BwPredictError, ConflictError, DocumentError, ObjectMissingError
from bwpredict.store.base import Store

logger = logging.getLogger(__name__)

REMIND_AFTER = timedelta(days=7)

OpenIncidents = dict[str, Any]


def report(store: Store, urls: Sequence[str], incident: Incident, *, now: datetime) -> bool:
    """Report the incident unless the same was reported lately; True if an alert was sent and accepted.

    Nothing is raised: where the store fails, the alert is sent all the same, twice rather than never. An alert
    that no target accepted counts as not sent.
    """
    before, etag = _look_up(store, incident.subject)
    same = before is not None and before["cause"] == incident.cause
    if before is not None and same:
        incident = replace(incident, since=min(incident.since, _time(before["since"])))
        notified_at = _time(before["notified_at"]) if before["notified_at"] else None
        if notified_at and now - notified_at < REMIND_AFTER:
            logger.info("%s: already notified on %s; not notified again.", incident.subject, before["notified_at"])
            _remember(store, incident, notified_at, etag)
            return False
    # Record the alert before sending it, so that only one of two concurrent workers sends it.
    ours = _remember(store, incident, None, etag)
    if ours is None:
        logger.info("%s: another worker sends the alert.", incident.subject)
        return False
    alert = incident.alert
    if same and before and before["notified_at"]:
        alert = replace(alert, title=f"Still: {alert.title}")
    taken = send(urls, alert)
    if taken:
        _remember(store, incident, now, ours)
    return taken


def recover(store: Store, urls: Sequence[str], subject: str, what: str, *, now: datetime) -> bool:
    """Report that the subject has recovered, if an incident was reported; True if an alert was sent and taken.

    `what` is a sentence about what went well. Nothing is raised, as in `report`.
    """
    before, _ = _look_up(store, subject)
    if before is None:
        return False
    lasted = max(timedelta(), now - _time(before["since"]))
    body = f"What: {what}\nIt was: {before['what']}\nFrom {before['since']} until {_iso(now)}: {_words(lasted)}."
    taken = bool(before["notified_at"]) and send(urls, Alert(f"Recovered: {before['title']}", body), well=True)
    if taken or not before["notified_at"]:
        _forget(store, subject)
    return taken


def _key(subject: str) -> str:
    return f"alerts/{subject}.json"


def _look_up(store: Store, subject: str) -> tuple[OpenIncidents | None, str | None]:
    """What is open, and its ETag: None if there is none; "" if that is unknown."""
    key = _key(subject)
    try:
        content, etag = store.read(key)
    except ObjectMissingError:
        return None, None
    except BwPredictError as error:
        logger.warning("%s: cannot read the earlier alert: %s", subject, error)
        return None, ""
    try:
        return decode_document("incident", content, name=f"{store.uri}/{key}"), etag
    except DocumentError as error:
        logger.warning("%s; the document is replaced.", str(error).rstrip("."))
        return None, etag


def _remember(store: Store, incident: Incident, notified_at: datetime | None, etag: str | None) -> str | None:
    """Write what is open and return its ETag; None if another worker was faster, "" if the store failed."""
    if etag == "":
        return ""
    document = {
        "subject": incident.subject,
        "cause": incident.cause,
        "title": incident.title,
        "what": " ".join(incident.what.split()),
        "since": _iso(incident.since),
        "notified_at": _iso(notified_at) if notified_at else None,
    }
    key = _key(incident.subject)
    try:
        return store.write(key, encode_document("incident", document, name=key), if_etag=etag)
    except ConflictError:
        return None
    except BwPredictError as error:
        logger.warning("%s: cannot record the alert: %s", incident.subject, error)
        return ""


def _forget(store: Store, subject: str) -> None:
    try:
        store.delete(_key(subject))
    except BwPredictError as error:
        logger.warning("%s: cannot remove the record of the alert: %s", subject, error)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _words(lasted: timedelta) -> str:
    hours, rest = divmod(int(lasted.total_seconds()), 3600)
    return f"{hours} h {rest // 60} min"
