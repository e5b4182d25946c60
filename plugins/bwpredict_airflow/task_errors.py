"""Map errors to task states with a one-line log.

Airflow logs every exception of a task with its traceback, except `SystemExit`, which it logs by its code
and otherwise treats alike: the task fails, its retry policy is asked, its callbacks run. So the errors of
bwpredict, whose sentence is the whole message, leave the task as the two kinds of `SystemExit` below.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from airflow.sdk import ExceptionRetryPolicy, RetryRule, get_current_context
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSkipException

from bwpredict.errors import (
    AlreadyPublishedError,
    BwPredictError,
    GateRejected,
    OvertakenError,
    StoreUnreachableError,
    UnknownOutcomeError,
)

logger = logging.getLogger(__name__)

DECISION_KEY = "decision"
"""XCom of the task `decide`: outcome and reason."""
REASON_KEY = "reason"
"""XCom of a task that stopped, or that published nothing: why, for the run's note."""
_PASSING = (StoreUnreachableError, UnknownOutcomeError, OvertakenError)


class Stopped(SystemExit):
    """The task failed for a reason that trying again would not change: a verdict, or an unusable input."""

    def __init__(self, error: BwPredictError) -> None:
        """Exit with the error's code; its sentence is the reason."""
        super().__init__(error.exit_code)
        self.reason = str(error)


class Interrupted(Stopped):
    """The task failed because a store did not do its part; the next try may succeed."""


NO_RETRY_ON_A_VERDICT = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=Interrupted, action=RetryAction.RETRY, reason="the store may answer the next time"),
        RetryRule(exception=Stopped, action=RetryAction.FAIL, reason="another try would end the same"),
    ]
)


def stop_on_reject(decision: Mapping[str, Any]) -> None:
    """Stop the task if the challenger was rejected.

    Raises:
        Stopped: the decision is a rejection.
    """
    with one_line_errors():
        if decision["outcome"] == "reject":
            raise GateRejected(decision["reason"])


def skip_unless_to_publish(context: Mapping[str, Any]) -> None:
    """Skip the task when production stays, in a dry run, and in a back-fill that was not asked to publish.

    Raises:
        AirflowSkipException: with the reason.
    """
    if reason := reason_to_keep(context):
        raise AirflowSkipException(reason)
    if kind := skip_publish_reason(context):
        skip(f"This is a {kind}: the challenger passed, and nothing was published.")


def skip_publish_reason(context: Mapping[str, Any]) -> str | None:
    """In words, what kind of run it is that publishes nothing; None: it publishes what passes."""
    params = context["params"]
    if params["dry_run"]:
        return "dry run"
    if context["dag_run"].run_type == "backfill" and not params["publish_past_months"]:
        return "back-fill"
    return None


def reason_to_keep(context: Mapping[str, Any]) -> str | None:
    """Why production stays, if that is what the task `decide` of this run decided."""
    decision = context["ti"].xcom_pull(task_ids="decide", key=DECISION_KEY)
    return str(decision["reason"]) if decision and decision["outcome"] == "keep" else None


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Let an error of bwpredict end the task with its sentence in the log and no stack trace.

    Raises:
        Stopped: for good.
        Interrupted: worth another try.
        AirflowSkipException: another run published the month's model.
    """
    try:
        yield
    except AlreadyPublishedError as error:
        skip(str(error))
    except BwPredictError as error:
        logger.error("%s", error)
        _push_reason(str(error))
        raise (Interrupted if isinstance(error, _PASSING) else Stopped)(error) from None


def skip(reason: str) -> NoReturn:
    """Skip the task and leave the reason for the run's note. Raises AirflowSkipException."""
    _push_reason(reason)
    raise AirflowSkipException(reason)


def _push_reason(reason: str) -> None:
    with suppress(RuntimeError):  # outside a task there is no run to note it on
        get_current_context()["ti"].xcom_push(REASON_KEY, reason)
