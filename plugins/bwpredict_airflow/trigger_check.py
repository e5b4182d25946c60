"""Refuse a trigger of a retraining at once where its params cannot be used.

Airflow checks each param that the form has by its JSON Schema, takes every other name, and queues the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from bwpredict.errors import ConfigError
from bwpredict.pipeline.run_config import require_known
from bwpredict.telemetry.months import month_window
from bwpredict_airflow.approval import APPROVAL_PARAMS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_TRIGGER = re.compile(r"/api/v2/dags/bandwidth_predictor_retrain(__[a-z0-9-]+)?/dagRuns/?$")


class TriggerCheck:
    """ASGI middleware of Airflow's API server, for the browser's form as for the REST API."""

    def __init__(self, app: Application) -> None:
        """Pass on to `app` whatever is no trigger, or a good one."""
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer 400 with one sentence, or pass on."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _TRIGGER.search(scope["path"]):
            await self.app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        if sentence := refusal(body):
            await JSONResponse({"detail": sentence}, 400)(scope, receive, send)
            return

        passed_on = False

        async def again() -> Message:
            nonlocal passed_on
            if passed_on:
                return await receive()
            passed_on = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def refusal(body: bytes) -> str:
    """Why a trigger with this body is refused; empty: it is not, or Airflow itself says so."""
    try:
        asked = json.loads(body)
    except ValueError:
        return ""
    conf = asked.get("conf") if isinstance(asked, dict) else None
    if not isinstance(conf, dict):
        return ""
    try:
        require_known(conf, *APPROVAL_PARAMS)
        if isinstance(conf.get("month"), str):
            month_window(conf["month"])
    except ConfigError as error:
        return str(error)
    return ""
