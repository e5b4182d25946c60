"""A person's approval: what counts as one, and what it records. `test_whole_airflow` asks for one in a real Airflow."""

import pytest
from bwpredict_airflow.approval import Approval
from bwpredict_airflow.task_errors import Stopped

from bwpredict.documents import read_document
from bwpredict.store.files import sha256_of


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"chosen_options": []},
        {"chosen_options": ["Reject"], "responded_by_user": {"id": "1", "name": "ann"}},
        {"chosen_options": ["Approve", "Reject"]},
        {"chosen_options": ["approve"]},
        {"chosen_options": "Approve"},
        {"chosen_options": ["Approve"], "timedout": True},
        {"error": "it took too long", "error_type": "timeout"},
    ],
)
def test_anything_but_a_plain_approval_refuses(event):
    with pytest.raises(Stopped) as stopped:
        Approval(task_id="approve", decision={"path": "x"}).execute_complete({}, event)
    assert stopped.value.reason.endswith("nothing was published.")


def test_an_approval_records_the_person_and_hands_on_the_decision(tmp_path):
    path = tmp_path / "run" / "decision.json"
    path.parent.mkdir()
    path.write_text("{}")
    decision = {"path": str(path), "sha256": sha256_of(path)}
    asked = Approval(task_id="approve", decision=decision)
    assert asked.defaults == ["Reject"]
    event = {"chosen_options": ["Approve"], "timedout": False, "responded_by_user": {"id": "1", "name": "ann"}}
    assert asked.execute_complete({}, event) == decision
    assert read_document(path.parent / "approval.json", "approval")["approved_by"] == "ann"


@pytest.mark.parametrize(("human_approval", "dry_run"), [(False, False), (True, True)])
def test_a_run_that_does_not_ask_or_is_dry_does_not_wait(human_approval, dry_run):
    params = {"human_approval": human_approval, "dry_run": dry_run}
    assert Approval(task_id="approve", decision={"path": "x"}).execute({"params": params}) == {"path": "x"}
