"""Alerts: what a person on call needs to know, in five lines, sent to Apprise URLs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bwpredict.core.formatting import count_of
from bwpredict.gate.decision import headline

logger = logging.getLogger(__name__)

MAX_FINDINGS = 3
"""An alert lists this many findings and counts the rest: the report has them all."""
MAX_ERROR_CHARACTERS = 600

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
        """Title and body, as a log shows them."""
        return f"{self.title}\n{self.body}"


@dataclass(frozen=True)
class Incident:
    """Something that a person must act on, in the five lines that they need."""

    subject: str
    """What is ill now and can be well again, such as a DAG's id. Letters, digits and `_ . -`."""
    cause: str
    """Equal for the same problem on another try, run or day; it is then not reported again."""
    title: str
    what: str
    since: datetime
    measured: str
    """Values against their thresholds; where there are none, the error."""
    production: str
    """What is in production now, and that this changed nothing of it."""
    to_do: str

    @property
    def alert(self) -> Alert:
        """The five lines."""
        lines = {
            "What": self.what,
            "Since": f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            "Measured": self.measured,
            "In production": self.production,
            "To do": self.to_do,
        }
        one_line = {name: " ".join(text.split()) for name, text in lines.items()}
        return Alert(self.title, "\n".join(f"{name}: {text}" for name, text in one_line.items()))


def compose(
    *,
    dag_id: str,
    run_id: str,
    failed_step: str,
    since: datetime,
    production: str,
    run_url: str | None = None,
    decision: Mapping[str, Any] | None = None,
    validation: Mapping[str, Any] | None = None,
    error: BaseException | str | None = None,
    report_url: str | None = None,
) -> Incident:
    """The incident of one failed run.

    Args:
        since: when the step that failed began.
        production: what is served now, in words: see `served`.
        decision: the decision document, when the gate refused the challenger.
        validation: the validation document, when telemetry did not meet its expectations.
        error: what was raised, when it was neither.
        report_url: the model card or the Data Docs.
    """
    failure = _failure(decision, validation, error, failed_step)
    links = [f"{name}: {url}" for name, url in (("Run", run_url), ("Report", report_url)) if url]
    return Incident(
        subject=dag_id,
        cause=f"{failed_step}: {failure.cause}",
        title=f"{dag_id}: {failure.headline}",
        what=f"run {run_id} of {dag_id} stopped at the step {failed_step}: {failure.sentence}",
        since=since,
        measured="; ".join(limit_findings(failure.findings)) or "nothing: the step failed before it measured anything",
        production=production,
        to_do=" ".join([failure.to_do, *links]),
    )


def production_stays(
    *, dag_id: str, run_id: str, count: int, since: datetime, production: str, run_url: str, decision: Mapping[str, Any]
) -> Incident:
    """The incident of a production that has stayed in `count` runs in a row; `since` is when the latest began."""
    undecided = [headline(check).rstrip(".") for check in decision["checks"] if check["verdict"] == "open"]
    return Incident(
        subject=f"{dag_id}.keep",
        cause="production stays",
        title=f"{dag_id}: production unchanged for {count_of(count, 'run')} in a row",
        what=f"run {run_id} decided: {decision['reason']}",
        since=since,
        measured="; ".join(limit_findings(undecided)),
        production=production,
        to_do="nothing is urgent; to detect smaller differences, use more test days (history_months), or let the"
        f" estimate decide with the policy's champion_rule expected. Run: {run_url}",
    )


def limit_findings(findings: Sequence[str]) -> list[str]:
    """The first findings, and how many more there are."""
    left_out = len(findings) - MAX_FINDINGS
    more = [f"and {left_out} more, see the report"] if left_out > 0 else []
    return [*findings[:MAX_FINDINGS], *more]


def served(version: str | None, *, promoted_by: str | None, run_id: str) -> str:
    """What is in production after a run that failed, in words."""
    if version is None:
        return "nothing yet"
    if promoted_by == f"run {run_id}":
        return f"{version}, which this run put there before it failed"
    return f"{version}, unchanged by this run"


def send(urls: Sequence[str], alert: Alert, *, well: bool = False) -> bool:
    """Send the alert to every Apprise URL; True when there is one at least and all took it.

    Nothing is raised: an alert that cannot be sent must not hide what it is about. What could not be
    sent is logged with the alert's text, and so is an alert with nowhere to go. Of a URL only the
    scheme is logged, and the host where it is one: the rest may be a secret. `well`: it is good news.
    """
    if not urls:
        logger.warning("No alert URL is configured (BWPREDICT_ALERT_URLS); the alert was: %s", alert.text)
        return False
    delivered = [
        _deliver(url, f"alert URL {place} ({_masked(url)})", alert, well=well) for place, url in enumerate(urls, 1)
    ]
    if not all(delivered):
        logger.warning("%d of %d alert URLs accepted the alert: %s", sum(delivered), len(urls), alert.text)
    return all(delivered)


@dataclass(frozen=True)
class _Failure:
    """Why a step stopped."""

    headline: str
    sentence: str
    findings: Sequence[str]
    cause: str
    to_do: str


def _failure(
    decision: Mapping[str, Any] | None,
    validation: Mapping[str, Any] | None,
    error: BaseException | str | None,
    failed_step: str,
) -> _Failure:
    if decision is not None:
        return _rejection(decision)
    if validation is not None:
        return _unfit(validation)
    text = _error_text(error)
    return _Failure(
        headline=f"{failed_step} failed",
        sentence=text,
        findings=(),
        # Run IDs, times and counts differ between attempts at the same problem.
        cause=re.sub(r"[0-9a-f]*[0-9][0-9a-f]*", "#", text),
        to_do=_TO_DO.get(failed_step, "fix what the message or the step's log names, then clear the step."),
    )


_TO_DO = {
    "schedule": "find the task that did not end, fix it, then clear the run.",
    "publish": "run `bwpredict verify`, fix what it or the message names, then clear the step.",
}


def _rejection(decision: Mapping[str, Any]) -> _Failure:
    failed = [check for check in decision["checks"] if check["verdict"] == "fail"]
    findings = [headline(check).rstrip(".") for check in failed]
    return _Failure(
        headline=f"model {decision['version']} was rejected",
        sentence=decision["reason"],
        findings=findings,
        cause=" ".join(sorted(check["id"] for check in failed)),
        to_do="nothing is urgent; read the model card, and run again after you change telemetry or training.",
    )


def _unfit(validation: Mapping[str, Any]) -> _Failure:
    stops = [check for check in validation["checks"] if not check["passed"] and _stops(check)]
    return _Failure(
        headline="telemetry failed validation",
        sentence=f"{len(stops)} of {len(validation['checks'])} checks of the telemetry failed.",
        findings=[check["sentence"].rstrip(".") for check in stops],
        cause=" ".join(sorted(check["id"] for check in stops)),
        to_do="fix the telemetry or its source, then clear the step snapshot; the Data Docs show the rows.",
    )


def _stops(check: Mapping[str, Any]) -> bool:
    """Whether this failed check stops a run: a warning does not, unless it could not be evaluated."""
    return check["severity"] == "error" or not check["evaluated"]


def _error_text(error: BaseException | str | None) -> str:
    if error is None:
        return "no reason was given; see the step's log."
    text = str(error) or "no message"
    text = text if isinstance(error, str) else f"{type(error).__name__}: {text}"
    return text if len(text) <= MAX_ERROR_CHARACTERS else f"{text[:MAX_ERROR_CHARACTERS]} …"


def _deliver(url: str, name: str, alert: Alert, *, well: bool) -> bool:
    """Whether the one target took the alert; why not is logged."""
    import apprise

    with _muted(_LOGGERS_WITH_SECRETS):
        target = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        try:
            taken = target is not None and bool(
                target.notify(
                    title=alert.title,
                    body=alert.body,
                    notify_type=apprise.NotifyType.SUCCESS if well else apprise.NotifyType.FAILURE,
                    body_format=apprise.NotifyFormat.TEXT,
                )
            )
        except Exception as error:  # noqa: BLE001 - some eighty services behind one call; none may hide the alert
            logger.warning("%s failed with %s.", name, type(error).__name__)
            return False
    if target is None:
        logger.warning("%s is not a URL that Apprise understands; see its list of services.", name)
    elif not taken:
        logger.warning("%s did not accept the alert; check its address and credentials.", name)
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
