"""Which triggers are refused before a run is made."""

import json

import pytest
from bwpredict_airflow.trigger_check import TriggerCheck, refusal
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

RETRAIN = "/api/v2/dags/bandwidth_predictor_retrain/dagRuns"


async def echo(request):
    return JSONResponse(await request.json())


@pytest.fixture
def client():
    inner = Starlette(routes=[Route("/{path:path}", echo, methods=["POST"])])
    return TestClient(TriggerCheck(inner))


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({"polcy": "guide"}, "params: polcy: unknown param. Did you mean policy?"),
        ({"month": "2026-13"}, "month='2026-13': not a month; expected YYYY-MM, for example 2026-10."),
    ],
)
@pytest.mark.parametrize("path", [RETRAIN, RETRAIN.replace("retrain", "retrain__eu-west")])
def test_a_trigger_with_an_unknown_param_or_no_month_is_refused_in_one_sentence(client, path, conf, sentence):
    answer = client.post(path, json={"logical_date": None, "conf": conf})
    assert (answer.status_code, answer.json()) == (400, {"detail": sentence})


@pytest.mark.parametrize(
    ("path", "conf"),
    [
        (RETRAIN, {}),
        (RETRAIN, None),
        (RETRAIN, {"month": "2026-10", "dry_run": True, "human_approval": True, "approval_hours": 2}),
        (RETRAIN, {"month": None, "learning_rate": 0.001}),
        ("/api/v2/dags/another/dagRuns", {"polcy": "guide"}),
    ],
)
def test_a_good_trigger_and_one_of_another_dag_pass_with_their_body(client, path, conf):
    asked = {"logical_date": None, "conf": conf}
    answer = client.post(path, json=asked)
    assert (answer.status_code, answer.json()) == (200, asked)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", json.dumps({"conf": "text"}).encode()])
def test_a_body_that_is_no_trigger_is_left_to_airflow(body):
    assert refusal(body) == ""
