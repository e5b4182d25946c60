"""Alerts: what a person on call needs to know about a failed run, sent to Apprise URLs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bwpredict.gate import describe

logger = logging.getLogger(__name__)

MOST_FINDINGS = 8
"""An alert lists this many findings and counts the rest: the report has them all."""
MOST_ERROR_CHARACTERS = 600

_SCHEMES_WITH_A_HOST = {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos", "apprise", "apprises"}
"""Where the part after `://` is a host. Elsewhere it may be a token (`tgram://TOKEN`, `slack://TOKEN`)."""
_LOGGERS_WITH_SECRETS = ("apprise", "urllib3.connectionpool")


@dataclass(frozen=True)
class Alert:
    """A title of one line, and a plain-text body."""

    title: str
    body: str

    @property
    def text(self) -> str:
        """Title and body, as they stand in a log."""
        return f"{self.title}\n{self.body}"


def compose(
    *,
    dag_id: str,
    run_id: str,
    failed_step: str,
    run_url: str | None = None,
    decision: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
    error: BaseException | str | None = None,
    report_url: str | None = None,
    production: str | None = None,
) -> Alert:
    """The alert for one failed run: which run, what failed by how much, what is served, where to look.

    Args:
        decision: the decision document, when the gate refused the challenger.
        validation: the validation document, when telemetry did not meet its expectations.
        error: what was raised, when it was neither.
        production: the version that is in production, unchanged by this run.
        report_url: the model card or the Data Docs.
    """
    what, findings = _what_failed(decision, validation, error)
    lines = [f"Run {run_id} of {dag_id} stopped at the step {failed_step}: {what}"]
    lines += [f"- {finding}" for finding in findings[:MOST_FINDINGS]]
    if len(findings) > MOST_FINDINGS:
        lines.append(f"- and {len(findings) - MOST_FINDINGS} more, see the report")
    lines += [f"In production, unchanged: {production}"] if production else []
    lines += [f"Run: {run_url}"] if run_url else []
    lines += [f"Report: {report_url}"] if report_url else []
    return Alert(f"{dag_id}: {_headline(decision, validation, failed_step)}", "\n".join(lines))


def send(urls: Sequence[str], alert: Alert) -> bool:
    """Send the alert to every Apprise URL; True when there is one at least and all took it.

    Nothing is raised: an alert that cannot be sent must not hide what it is about. What could not be
    sent is logged with the alert's text, and so is an alert with nowhere to go. Of a URL only the
    scheme is logged, and the host where it is one: the rest may be a secret.
    """
    if not urls:
        logger.warning("No alert URL is configured (BWPREDICT_ALERT_URLS); the alert was: %s", alert.text)
        return False
    delivered = [_deliver(url, f"alert URL {place} ({_masked(url)})", alert) for place, url in enumerate(urls, 1)]
    if not all(delivered):
        logger.warning("%d of %d alert URLs took the alert: %s", sum(delivered), len(urls), alert.text)
    return all(delivered)


def _headline(decision: Mapping[str, Any] | None, validation: Mapping[str, Any] | None, failed_step: str) -> str:
    if decision is not None:
        return f"model {decision['version']} was {'accepted' if decision['passed'] else 'rejected'}"
    return "telemetry failed validation" if validation is not None else f"{failed_step} failed"


def _what_failed(
    decision: Mapping[str, Any] | None, validation: Mapping[str, Any] | None, error: BaseException | str | None
) -> tuple[str, list[str]]:
    """One sentence, and the findings behind it."""
    if decision is not None:
        return decision["reason"], [
            f"{sentence} (value {value}, threshold {threshold})"
            for verdict, sentence, value, threshold in describe(decision)
            if verdict == "fail"
        ]
    if validation is not None:
        stops = (check for check in validation["checks"] if not check["passed"] and _stops(check))
        sentences = [check["sentence"] for check in stops]
        return f"{len(sentences)} of {len(validation['checks'])} checks of the telemetry failed.", sentences
    return _error_text(error), []


def _stops(check: Mapping[str, Any]) -> bool:
    """Whether this failed check stops a run: a warning does not, unless it could not be evaluated."""
    return check["severity"] == "error" or not check["evaluated"]


def _error_text(error: BaseException | str | None) -> str:
    if error is None:
        return "no reason was given; see the step's log."
    text = str(error) or "no message"
    text = text if isinstance(error, str) else f"{type(error).__name__}: {text}"
    return text if len(text) <= MOST_ERROR_CHARACTERS else f"{text[:MOST_ERROR_CHARACTERS]} …"


def _deliver(url: str, name: str, alert: Alert) -> bool:
    """Whether the one target took the alert; why not is logged."""
    import apprise

    with _muted(_LOGGERS_WITH_SECRETS):
        target = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        try:
            taken = target is not None and bool(
                target.notify(
                    title=alert.title,
                    body=alert.body,
                    notify_type=apprise.NotifyType.FAILURE,
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        except Exception as error:  # noqa: BLE001 - some eighty services behind one call; none may hide the alert
            logger.warning("%s failed with %s.", name, type(error).__name__)
            return False
    if target is None:
        logger.warning("%s is not a URL that Apprise understands; see its list of services.", name)
    elif not taken:
        logger.warning("%s did not take the alert; check that it can be reached and its credentials.", name)
    return taken


@contextmanager
def _muted(names: Sequence[str]) -> Iterator[None]:
    """Keep loggers quiet that would write out whole URLs, tokens included."""
    before = {name: logging.getLogger(name).disabled for name in names}
    try:
        for name in names:
            logging.getLogger(name).disabled = True
        yield
    finally:
        for name, disabled in before.items():
            logging.getLogger(name).disabled = disabled


def _masked(url: str) -> str:
    """The URL's scheme, and its host where that is surely a host."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme.isalnum():
        return "no scheme"
    try:
        host = urlsplit(url).hostname if scheme.lower() in _SCHEMES_WITH_A_HOST else None
    except ValueError:
        host = None
    return f"{scheme}://{host or '…'}"
