"""A person's approval, in a real Airflow: API server, scheduler and workers, asked and answered over the REST API."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from bwpredict_airflow.approval import Approval
from bwpredict_airflow.task_errors import Stopped

from bwpredict.documents import read_document
from bwpredict.store.files import sha256_of

HERE = Path(__file__).parent
ENDED = {"success", "failed", "upstream_failed", "skipped"}
HESITATION = 20
"""Seconds before the answer. One that comes before the scheduler has heard that the task waits makes it ask again."""
A_MINUTE = 240
"""Seconds that a step of these tests may take on a machine that is busy with others."""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class RestApi:
    def __init__(self, port):
        self.base, self.token = f"http://127.0.0.1:{port}", None

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, headers=headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http to this machine
            return json.loads(answer.read() or b"null")

    def trigger(self, **params):
        run = self.call("POST", "/api/v2/dags/approval/dagRuns", {"logical_date": None, "conf": params})
        return f"/api/v2/dags/approval/dagRuns/{run['dag_run_id']}/taskInstances"

    def states(self, run):
        return {task["task_id"]: task["state"] for task in self.call("GET", run)["task_instances"]}

    def wait(self, run, *states, task="approve"):
        """The states of all tasks once `task` is in one of `states`."""
        return eventually(lambda: found if (found := self.states(run)).get(task) in states else None)


def eventually(look, every=1.0):
    deadline = time.monotonic() + A_MINUTE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := look():
                return found
        time.sleep(every)
    raise AssertionError("it did not come to that in time")


@pytest.fixture(scope="module")
def api(airflow):
    port, log = free_port(), airflow.root / "standalone.log"
    settings = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "approval_dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",  # on a machine that is busy with others
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "BWPREDICT"))}
    after = " ".join(f"{name}='{value}'" for name, value in settings.items())
    with log.open("w") as file:
        server = subprocess.Popen(
            ["bash", "-c", f". scripts/airflow-env.sh; exec env {after} airflow standalone"],
            cwd=HERE.parents[1],
            env={**kept, "ROOT": str(airflow.root), "AIRFLOW__API__PORT": str(port)},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        rest = RestApi(port)
        rest.token = eventually(lambda: rest.call("GET", "/auth/token"))["access_token"]
        eventually(lambda: rest.call("GET", "/api/v2/dags/approval"))
        yield rest
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_run_waits_for_a_person_only_if_asked_to_and_publishes_only_what_was_approved(api):
    plain = api.trigger()
    assert api.wait(plain, *ENDED, task="publish")["publish"] == "success"
    approved, refused = (api.trigger(human_approval=True) for _ in range(2))
    late = api.trigger(human_approval=True, approval_hours=0.001)
    for run in (approved, refused):
        assert api.wait(run, "awaiting_input").get("publish") is None
        question = api.call("GET", f"{run}/approve/-1/hitlDetails")
        assert "all checks passed {{ not a template }}" in question["body"]
    time.sleep(HESITATION)
    for run, answer in ((approved, "Approve"), (refused, "Reject")):
        api.call("PATCH", f"{run}/approve/-1/hitlDetails", {"chosen_options": [answer]})
    assert api.wait(approved, *ENDED, task="publish") == dict.fromkeys(("decide", "approve", "publish"), "success")
    for run in (refused, late):
        ended = api.wait(run, *ENDED, task="publish")
        assert (ended["approve"], ended["publish"]) == ("failed", "upstream_failed")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_an_answer_in_the_moment_of_the_question_publishes_at_once_or_is_asked_for_again(api):
    run, answers = api.trigger(human_approval=True), []

    def ended():
        state = api.states(run).get("approve")
        if state in ("running", "awaiting_input"):
            question = api.call("GET", f"{run}/approve/-1/hitlDetails")
            if not question["response_received"]:
                time.sleep(HESITATION if answers else 0)
                answers.append(api.call("PATCH", f"{run}/approve/-1/hitlDetails", {"chosen_options": ["Approve"]}))
        return state in ENDED

    eventually(ended, every=0.05)
    assert 1 <= len(answers) <= 2
    assert api.wait(run, *ENDED, task="publish") == dict.fromkeys(("decide", "approve", "publish"), "success")


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
