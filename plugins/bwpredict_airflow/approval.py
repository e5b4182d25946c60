"""A person's approval between decision and publication, for runs that ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.hitl import ApprovalOperator

from bwpredict.errors import GateRejected
from bwpredict.pipeline import steps
from bwpredict.workspace.artifacts import SUMMARY
from bwpredict.workspace.references import Reference, local_file
from bwpredict_airflow.task_errors import one_line_errors, reason_to_keep, skip_publish_reason

if TYPE_CHECKING:
    from airflow.sdk import Context


APPROVAL_PARAMS = ("human_approval", "approval_hours")
_DEFAULT_HOURS = 12


def params_of_the_run(params: Mapping[str, Any]) -> dict[str, Any]:
    """What the run itself is to know: all that the form asks, but for what only the approval is about."""
    return {name: value for name, value in params.items() if name not in APPROVAL_PARAMS}


class Approval(ApprovalOperator):
    """Hands on what `decide` passed: at once, or in a run with `human_approval`, when a person has approved it.

    The person sees the run's summary. A refusal, or no answer within `approval_hours`, ends the task: nothing is
    published. Waiting takes no worker.
    """

    template_fields = (*ApprovalOperator.template_fields, "decision")

    def __init__(self, *, decision: Any, **kwargs: Any) -> None:
        """`decision`: the output of the task that passed it, a path and a checksum."""
        super().__init__(subject="Publish this model?", defaults=self.REJECT, **kwargs)
        self.decision = decision

    def execute(self, context: Context) -> Any:
        """Ask, or hand on at once."""
        params = context["params"]
        known = cast("Mapping[str, Any]", context)
        if not params["human_approval"] or skip_publish_reason(known) or reason_to_keep(known):
            return self.decision
        with one_line_errors():
            summary = local_file(Reference(**self.decision), SUMMARY)
        self.body = summary.read_text("utf-8")
        self.response_timeout = timedelta(hours=params["approval_hours"] or _DEFAULT_HOURS)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:  # noqa: ARG002 - Airflow's signature
        """Go on only after a plain approval; whatever else came back refuses.

        Raises:
            Stopped: refused, or nobody answered in time.
        """
        with one_line_errors():
            if event.get("timedout") or event.get("error_type") == "timeout":
                raise GateRejected("Nobody approved the model in time: nothing was published.")
            if event.get("chosen_options") != [self.APPROVE]:
                raise GateRejected(f"{_who(event)} refused the model: nothing was published.")
            steps.approve(Reference(**self.decision), _who(event))
        self.log.info("%s approved the model.", _who(event))
        return self.decision


def _who(event: Mapping[str, Any]) -> str:
    user = event.get("responded_by_user")
    return str(user["name"]) if isinstance(user, Mapping) and user.get("name") else "Somebody"
