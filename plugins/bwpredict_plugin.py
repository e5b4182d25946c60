"""The Airflow plugin "Bandwidth models": its pages in the navigation, on each DAG and on each run, and task links."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin
from bwpredict_airflow import listeners
from bwpredict_airflow.deadline import RunCreated
from bwpredict_airflow.extra_links import LINKS, PREFIX
from bwpredict_airflow.timetable import UpcomingCronTimetable
from bwpredict_airflow.trigger_check import TriggerCheck

Message = MutableMapping[str, Any]


async def pages(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """The pages' ASGI application, made at the first request: every task loads this file, only the API server asks."""
    from bwpredict_airflow.webapp.app import application

    await application()(scope, receive, send)


class BandwidthModelsPlugin(AirflowPlugin):
    """What Airflow takes from this file."""

    name = "bandwidth_models"
    listeners = [listeners]
    deadline_references = [RunCreated]
    timetables = [UpcomingCronTimetable]
    operator_extra_links = list(LINKS)
    fastapi_apps = [{"app": pages, "url_prefix": PREFIX, "name": "Bandwidth models"}]
    fastapi_root_middlewares = [{"middleware": TriggerCheck, "args": [], "kwargs": {}, "name": "Trigger check"}]
    external_views = [
        {"name": "Models", "href": f"{PREFIX}/", "destination": "nav", "url_route": "bandwidth-models"},
        {
            "name": "Bandwidth models",
            "href": f"{PREFIX}/dags/{{DAG_ID}}",
            "destination": "dag",
            "url_route": "bandwidth-models-of-the-dag",
        },
        {
            "name": "Verdict",
            "href": f"{PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "bandwidth-verdict",
        },
    ]
