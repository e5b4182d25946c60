"""Who may do what on the pages, and that a person's browser was not made to do it by another site.

Reading needs access to the retraining DAG; promote and roll back the right to change it; a retraining the
right to run it. Airflow's auth manager decides, so its roles are the ones that people know.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, Form, HTTPException, Request, status
from itsdangerous import BadData, URLSafeTimedSerializer

from bwpredict.config import Settings
from bwpredict.pipeline.model_catalog import find_model

RETRAIN_DAG = "bandwidth_predictor_retrain"
_TOKEN_LIVES_SECONDS = 4 * 3600


@dataclass(frozen=True)
class ModelContext:
    """The model that a page is about: its settings, and the DAG whose permissions count."""

    model: str
    settings: Settings
    dag_id: str
    asset: str


def find_model_context(model: str) -> ModelContext:
    """The model of this name in the address. Raises ConfigError."""
    installation = Settings()
    found = find_model(model, installation)
    return ModelContext(
        found.name, found.settings(installation), found.named(RETRAIN_DAG), found.named("bandwidth_model")
    )


ModelContextDep = Annotated[ModelContext, Depends(find_model_context)]


def may_read(request: Request, user: GetUserDep, here: ModelContextDep) -> None:
    """Whoever sees the DAG. Raises HTTPException."""
    _require(requires_access_dag("GET", param_dag_id=here.dag_id), request, user, f"read the DAG {here.dag_id}")


def may_promote(request: Request, user: GetUserDep, here: ModelContextDep) -> None:
    """Whoever may change the DAG. Raises HTTPException."""
    _require(requires_access_dag("PUT", param_dag_id=here.dag_id), request, user, f"edit the DAG {here.dag_id}")


def may_retrain(request: Request, user: GetUserDep, here: ModelContextDep) -> None:
    """Whoever may make a run of the DAG. Raises HTTPException."""
    required = requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=here.dag_id)
    _require(required, request, user, f"create runs of the DAG {here.dag_id}")


def allowed(request: Request, user: BaseUser, here: ModelContext) -> dict[str, bool]:
    """Which actions a page offers to this user; the actions themselves ask again."""
    return {
        name: _passes(partial(require, request, user, here))
        for name, require in (("move", may_promote), ("retrain", may_retrain))
    }


def form_token(user: BaseUser) -> str:
    """What a form must carry: only our own pages, shown to this user, have it."""
    return _serializer().dumps(str(user.get_id()))


def require_own_form(request: Request, user: GetUserDep, token: Annotated[str, Form()] = "") -> None:
    """Refuse a POST that did not come from a form that we gave this user: the session cookie alone proves nothing.

    Raises:
        HTTPException: 403, with the reason.
    """
    if not _from_our_own_page(request):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This request came from another site; nothing was done.")
    try:
        owner = _serializer().loads(token, max_age=_TOKEN_LIVES_SECONDS)
    except BadData:
        owner = None
    if owner != str(user.get_id()):
        raise HTTPException(
            status.HTTP_403_FORBIDDEN, "The form is too old or not yours; open it again. Nothing was done."
        )


def _require(required: Callable[[Request, BaseUser], None], request: Request, user: BaseUser, what: str) -> None:
    """Ask Airflow's auth manager; a refusal names the permission."""
    try:
        required(request, user)
    except HTTPException as refused:
        if refused.status_code != status.HTTP_403_FORBIDDEN:
            raise
        sentence = f"This needs the permission to {what}; ask an Airflow administrator."
        raise HTTPException(status.HTTP_403_FORBIDDEN, sentence) from refused


def _from_our_own_page(request: Request) -> bool:
    """What the browser itself says of where a request began; a client that says nothing is no browser."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    ours = {request.headers.get("host"), urlsplit(conf.get("api", "base_url", fallback="")).netloc}
    return origin is None or urlsplit(origin).netloc in ours


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="bandwidth-models form")


def _passes(require: Callable[[], None]) -> bool:
    try:
        require()
    except HTTPException:
        return False
    return True
