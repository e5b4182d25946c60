"""The pages: one function for each address. All of them ask Airflow who is there; the anonymous get the style sheet.

What a page shows is read within a bounded time, so that a registry that is down costs a sentence and not a wait.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Concatenate, Literal, ParamSpec, TypeVar
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep, get_user
from fastapi import APIRouter, Depends, FastAPI, Form, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from bwpredict.config import DEFAULT_MODEL, Settings
from bwpredict.core.formatting import readable_unit
from bwpredict.errors import (
    BwPredictError,
    ConfigError,
    ConflictError,
    GateRejected,
    ObjectMissingError,
    StoreUnreachableError,
    WorkAreaError,
)
from bwpredict.monitoring.days import read_series
from bwpredict.pipeline.health import production_health
from bwpredict.pipeline.model_catalog import model_of_dag, read_models
from bwpredict.pipeline.run_history import RunSummary, downloadable_file, recent_runs, run_summary
from bwpredict.registry.layout import is_version
from bwpredict.registry.pointer import Production, read_production
from bwpredict.registry.versions import read_file, read_manifest, version_folders
from bwpredict.registry_views.overview import overview, version_documents
from bwpredict.registry_views.version_diff import differences, judged_together
from bwpredict.schema import Target
from bwpredict.store.base import Store
from bwpredict.store.factory import open_store
from bwpredict.workspace.areas import newest_areas
from bwpredict_airflow.extra_links import PREFIX, model_page, run_page
from bwpredict_airflow.webapp import actions, links, render
from bwpredict_airflow.webapp.access import (
    RETRAIN_DAG,
    ModelContext,
    ModelContextDep,
    allowed,
    form_token,
    may_promote,
    may_read,
    may_retrain,
    require_own_form,
)
from bwpredict_airflow.webapp.monitored_days import DAYS, monitored_days
from bwpredict_airflow.webapp.runs import Step, as_csv, run_rows, steps_of

logger = logging.getLogger(__name__)

ANSWER_WITHIN_SECONDS = 1.5
"""A registry that has not answered by then counts as down."""
READ_WITHIN_SECONDS = 20.0
_RUNS = 12
_ALL_RUNS = 60
"""Five years of months."""
_VERSIONS = 12
_MEDIA = {".html": "text/html", ".png": "image/png", ".json": "application/json", ".css": "text/css"}
_STATUS = (
    (ConflictError, 409),
    (GateRejected, 409),
    (ObjectMissingError, 404),
    (WorkAreaError, 404),
    (StoreUnreachableError, 503),
    (ConfigError, 400),
    (BwPredictError, 500),
)
_P = ParamSpec("_P")
_Result = TypeVar("_Result")
_readers = ThreadPoolExecutor(16, thread_name_prefix="bandwidth-models")

Search = Annotated[str, Query(max_length=60)]
Reason = Annotated[str, Form(min_length=3, max_length=500)]
pages = APIRouter(prefix="/of/{model}", dependencies=[Depends(get_user), Depends(may_read)])
front = APIRouter(dependencies=[Depends(get_user)])
look = APIRouter()
"""The style sheet and the script, which the page that asks to sign in needs too."""


@cache
def application() -> FastAPI:
    """All pages and actions."""
    made = FastAPI(title="Bandwidth models", openapi_url=None, docs_url=None, redoc_url=None)
    made.include_router(look)
    made.include_router(front)
    made.include_router(pages)
    made.add_exception_handler(BwPredictError, _explained)
    made.add_exception_handler(HTTPException, _explained)
    made.add_exception_handler(RequestValidationError, _explained)
    return made


@cache
def _store(uri: str) -> Store:
    return open_store(uri)


async def _soon(read: Callable[[], _Result], seconds: float, what: str) -> _Result:
    """What `read` gives, off the event loop; the thread of a read that hangs is left to its own time-outs."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(_readers, read), seconds)
    except TimeoutError:
        raise StoreUnreachableError(
            f"{what}: did not answer within {seconds:g} s; check that it is up, and try again."
        ) from None


async def _read(
    store: Store, function: Callable[Concatenate[Store, _P], _Result], *args: _P.args, **kwargs: _P.kwargs
) -> _Result:
    """What the function reads from the store, off the event loop."""
    return await _soon(partial(function, store, *args, **kwargs), READ_WITHIN_SECONDS, store.uri)


async def answering_store(here: ModelContextDep) -> Store:
    """The registry, if it answers within a moment. Raises StoreUnreachableError."""
    uri = here.settings.registry
    store = await _soon(partial(_store, uri), READ_WITHIN_SECONDS, uri)
    await _soon(partial(read_production, store), ANSWER_WITHIN_SECONDS, uri)
    return store


async def run_of_the_page(here: ModelContextDep, run_id: str) -> RunSummary:
    """The run in the address. Raises WorkAreaError."""
    work = here.settings.work
    return await _soon(partial(run_summary, work, run_id), READ_WITHIN_SECONDS, str(work))


StoreDep = Annotated[Store, Depends(answering_store)]
RunDep = Annotated[RunSummary, Depends(run_of_the_page)]


@front.get("/")
async def show_front() -> Response:
    """The model `default`; its page leads to the others."""
    return RedirectResponse(f"{model_page(DEFAULT_MODEL)}/", 303)


@front.get("/dags/{dag_id}")
async def show_dag(dag_id: str) -> Response:
    """The tab on each DAG's page."""
    model = _model_of(dag_id)
    return RedirectResponse(f"{model_page(model)}/", 303) if model else _not_ours(dag_id)


@front.get("/dags/{dag_id}/runs/{run_id}")
async def show_dag_run(dag_id: str, run_id: str) -> Response:
    """The tab on each run's page."""
    model = _model_of(dag_id)
    return RedirectResponse(run_page(model, run_id), 303) if model else _not_ours(dag_id)


@pages.get("/")
async def show_overview(
    request: Request, user: GetUserDep, here: ModelContextDep, below: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """What is in production and how it does, the versions and how accurate they were, and the latest runs."""
    runs, no_runs = await _latest_runs(here, _RUNS)
    seen, serving, days, problem = None, None, [], ""
    try:
        store = await answering_store(here)
        seen = await _read(store, overview, below=below or None)
        if seen.production:
            serving = await _read(store, version_documents, seen.production.version)
            days = await _read(store, lambda store: list(read_series(store, DAYS)))
    except BwPredictError as error:
        seen, problem = None, str(error)
    limits = serving.decision["policy"]["thresholds"] if serving else {}
    return render.render_page(
        here.model,
        "overview.html",
        may=allowed(request, user, here),
        models=[model.name for model in read_models(Settings())],
        seen=seen,
        problem=problem,
        health=production_health(seen.production, runs, days, now=datetime.now(UTC))
        if seen and seen.production
        else [],
        monitored=monitored_days(days),
        runs=runs,
        steps=await _steps(here, runs),
        no_runs=no_runs,
        registry=here.settings.registry,
        charts=render.charts(seen, limits.get("maximum_average_mape_percent")) if seen else [],
        rivals=render.model_comparison(serving.comparison) if serving else [],
        below=below,
    )


@pages.get("/versions/{version}")
async def show_version(
    request: Request, user: GetUserDep, here: ModelContextDep, store: StoreDep, version: str
) -> Response:
    """One version: decision and checks, champion against challenger, drift, and its files."""
    found = await _read(store, version_documents, version)
    return render.render_page(
        here.model,
        "version.html",
        may=allowed(request, user, here),
        found=found,
        production=await _read(store, read_production),
        rivals=render.model_comparison(found.comparison),
        validation=render.validation(found.validation),
    )


@pages.get("/versions/{version}/files/{name}")
async def show_version_file(store: StoreDep, version: str, name: str) -> Response:
    """One page, picture or document of a version, checked against its manifest."""
    media_type = _MEDIA.get(name[name.rfind(".") :])
    if media_type is None or not is_version(version):
        raise ConfigError(f"{name!r} of {version!r} is not a page.")
    manifest = await _read(store, read_manifest, version)
    return render.stored(await _read(store, read_file, manifest, name), media_type)


@pages.get("/links")
async def show_links_of_production(here: ModelContextDep, store: StoreDep) -> Response:
    """The links of the version in production."""
    production = await _read(store, read_production)
    if production is None:
        raise ConfigError(
            f"{store.uri}: nothing is in production yet, so there are no links to show; retrain a month first."
        )
    return RedirectResponse(f"{model_page(here.model)}/versions/{production.version}/links", 303)


@pages.get("/versions/{version}/links")
async def show_links(
    here: ModelContextDep,
    store: StoreDep,
    version: str,
    target: Target = "throughput_mbps",
    sort: Literal["worst", "anomalous", "uncertain"] = "worst",
    find: Annotated[str, Query(max_length=40)] = "",
    first: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The links of a version's test days, searchable, the worst first."""

    def read(store: Store) -> links.LinkList:
        return links.link_list(links.link_accuracy(store, version), target, sort=sort, find=find, first=first)

    return render.render_page(
        here.model,
        "links.html",
        version=version,
        versions=await _read(store, _newest_versions),
        found=await _read(store, read),
        target=target,
        unit=readable_unit(target)[1],
        sort=sort,
        sorts=links.SORTS,
        find=find,
    )


@pages.get("/versions/{version}/links/{link}")
async def show_link(
    here: ModelContextDep,
    store: StoreDep,
    version: str,
    link: Annotated[str, Path(max_length=40)],
    target: Target = "throughput_mbps",
) -> Response:
    """One link: what was forecast on the test days and the actual values, and the error by hour of the day."""
    return render.render_page(
        here.model,
        "link.html",
        version=version,
        versions=await _read(store, _newest_versions),
        link=link,
        view=await _read(store, links.link_view, version, link, target),
        target=target,
        unit=readable_unit(target)[1],
    )


@pages.get("/diff")
async def show_differences(here: ModelContextDep, store: StoreDep, left: str, right: str) -> Response:
    """Two versions on the same test days, and what else differs between them."""
    old, new = [await _read(store, version_documents, version) for version in (left, right)]
    judged = judged_together(old, new)
    return render.render_page(
        here.model,
        "diff.html",
        left=old,
        right=new,
        judged=judged,
        rivals=render.model_comparison(judged.comparison) if judged else [],
        sections=[(name, list(rows)) for name, rows in groupby(differences(old, new), key=attrgetter("section"))],
    )


@pages.get("/runs")
async def show_runs(here: ModelContextDep, find: Search = "", verdict: Search = "") -> Response:
    """The latest runs that have a work area, rejected ones too, with parameters and figures."""
    runs, no_runs = await _latest_runs(here, _ALL_RUNS)
    rows = await _soon(partial(run_rows, runs, find, verdict), READ_WITHIN_SECONDS, "the work areas")
    return render.render_page(
        here.model,
        "runs.html",
        rows=rows,
        total=len(runs),
        verdicts=sorted({run.verdict for run in runs}),
        steps=await _steps(here, runs),
        no_runs=no_runs,
        find=find,
        verdict=verdict,
    )


@pages.get("/runs.csv")
async def export_runs(here: ModelContextDep, find: Search = "", verdict: Search = "") -> Response:
    """The same as CSV, with every parameter and figure."""
    runs, no_runs = await _latest_runs(here, _ALL_RUNS)
    if no_runs:
        raise StoreUnreachableError(no_runs)
    rows = await _soon(partial(run_rows, runs, find, verdict), READ_WITHIN_SECONDS, "the work areas")
    name = f"runs_{here.model}.csv"
    return Response(
        as_csv(rows), media_type="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@pages.get("/runs/{run_id}")
async def show_run(here: ModelContextDep, run: RunDep) -> Response:
    """What a run came to: the verdict with every check, and its pages."""
    step = (await _steps(here, [run])).get(run.run_id)
    return render.render_page(
        here.model, "run.html", run=run, step=step, dag_id=here.dag_id, validation=render.validation(run.validation)
    )


@pages.get("/runs/{run_id}/version")
async def find_version_of_run(here: ModelContextDep, run: RunDep, store: StoreDep) -> Response:
    """The registry's entry of a run's version; the run's own page while it has none."""
    try:
        await _read(store, read_manifest, run.version)
    except ObjectMissingError:
        return RedirectResponse(run_page(here.model, run.run_id), 303)
    return RedirectResponse(f"{model_page(here.model)}/versions/{run.version}", 303)


@pages.get("/runs/{run_id}/files/{name:path}")
async def show_run_file(here: ModelContextDep, run_id: str, name: str) -> Response:
    """One page of a run: its model card, or a page of its Data Docs."""
    path = await _soon(partial(downloadable_file, here.settings.work, run_id, name), READ_WITHIN_SECONDS, name)
    return render.stored(path.read_bytes(), _MEDIA.get(path.suffix, "text/plain"))


@pages.get("/promote", dependencies=[Depends(may_promote)])
async def confirm_promotion(here: ModelContextDep, user: GetUserDep, store: StoreDep, version: str) -> Response:
    """Say what a promotion would change, and ask."""
    manifest = await _read(store, read_manifest, version)
    return _confirm(here, user, "promote", manifest.version, await _read(store, read_production))


@pages.get("/rollback", dependencies=[Depends(may_promote)])
async def confirm_rollback(here: ModelContextDep, user: GetUserDep, store: StoreDep) -> Response:
    """Say where a rollback would lead, and ask."""
    production = await _read(store, read_production)
    if production is None or production.previous is None:
        raise ConfigError(f"{store.uri}: there is no earlier version to roll back to.")
    return _confirm(here, user, "rollback", production.previous, production)


@pages.get("/retrain", dependencies=[Depends(may_retrain)])
async def confirm_retraining(here: ModelContextDep, user: GetUserDep) -> Response:
    """Ask which month to train on."""
    return _confirm(here, user, "retrain", "", None)


@pages.post("/promote", dependencies=[Depends(may_promote), Depends(require_own_form)])
async def do_promote(
    here: ModelContextDep,
    user: GetUserDep,
    store: StoreDep,
    version: Annotated[str, Form()],
    reason: Reason,
    expected: Annotated[str, Form()] = "",
) -> Response:
    """Promote a version."""
    await asyncio.to_thread(
        actions.promote_by_hand, here, store, user, version=version, expected=expected, reason=reason
    )
    return RedirectResponse(f"{model_page(here.model)}/", 303)


@pages.post("/rollback", dependencies=[Depends(may_promote), Depends(require_own_form)])
async def do_roll_back(
    here: ModelContextDep,
    user: GetUserDep,
    store: StoreDep,
    expected: Annotated[str, Form(min_length=1)],
    reason: Reason,
) -> Response:
    """Roll back once."""
    await asyncio.to_thread(actions.roll_back_by_hand, here, store, user, expected=expected, reason=reason)
    return RedirectResponse(f"{model_page(here.model)}/", 303)


@pages.post("/retrain", dependencies=[Depends(may_retrain), Depends(require_own_form)])
async def do_retrain(
    here: ModelContextDep,
    user: GetUserDep,
    reason: Reason,
    month: Annotated[str, Form(max_length=7)] = "",
    dry_run: Annotated[bool, Form()] = False,  # noqa: FBT002 - a field of a form
) -> Response:
    """Trigger a retraining."""
    if month and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise ConfigError(f"{month!r} is not a month; expected YYYY-MM, such as 2026-10.")
    run_id = await asyncio.to_thread(actions.retrain, here, user, month=month, dry_run=dry_run, reason=reason)
    return RedirectResponse(f"{model_page(here.model)}/triggered/{quote(run_id, safe='')}", 303)


@pages.get("/triggered/{run_id}")
async def show_triggered(here: ModelContextDep, run_id: str) -> Response:
    """Where to watch the run that was just triggered."""
    return render.render_page(here.model, "triggered.html", run_id=run_id, dag_id=here.dag_id)


@look.get("/static/{name}")
async def show_static(name: str) -> Response:
    """The style sheet and the script of these pages."""
    if name not in render.STATIC:
        raise ConfigError(f"{name!r} is not a file of these pages.")
    return render.static(name)


def _confirm(here: ModelContext, user: BaseUser, action: str, version: str, production: Production | None) -> Response:
    """The page that asks for a reason, with the form that leads to the action."""
    token = form_token(user)
    return render.render_page(
        here.model, "confirm.html", action=action, version=version, production=production, token=token
    )


def _newest_versions(store: Store) -> list[str]:
    """Names of the newest versions, newest first."""
    return [name for name in reversed(version_folders(store)) if is_version(name)][:_VERSIONS]


async def _latest_runs(here: ModelContext, most: int) -> tuple[list[RunSummary], str]:
    """The latest runs; or none and why, if the store of the work areas does not say within a moment what it has."""
    work = here.settings.work
    try:
        await _soon(partial(newest_areas, work, 1), ANSWER_WITHIN_SECONDS, "the store of the work areas")
        return await _soon(partial(recent_runs, work, most), READ_WITHIN_SECONDS, "the work areas"), ""
    except BwPredictError as error:
        return [], str(error)


async def _steps(here: ModelContext, runs: Sequence[RunSummary]) -> dict[str, Step]:
    """Where Airflow is with those of the runs that have not come to a decision."""
    return await asyncio.to_thread(steps_of, here.dag_id, [run.run_id for run in runs if run.verdict == "unfinished"])


def _model_of(dag_id: str) -> str:
    """The model that a retraining DAG is about; empty for any other DAG."""
    return model_of_dag(dag_id, Settings()).name if dag_id.startswith(RETRAIN_DAG) else ""


def _not_ours(dag_id: str) -> Response:
    return render.render_page(
        "", "error.html", title="Not a retraining", sentence=f"{dag_id} trains no bandwidth model."
    )


async def _explained(request: Request, error: Exception) -> Response:
    """Every error as a page with one sentence, and with its status."""
    if isinstance(error, HTTPException) and error.status_code == HTTPStatus.UNAUTHORIZED:
        return _sign_in(request)
    if isinstance(error, HTTPException):
        missing = error.detail == HTTPStatus.NOT_FOUND.phrase  # Starlette's detail for an unknown address
        status, sentence = error.status_code, "This address leads nowhere." if missing else str(error.detail)
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        status, sentence = 422, f"{first['loc'][-1]}: {first['msg']}."
    else:
        status = next(code for kind, code in _STATUS if isinstance(error, kind))
        sentence = str(error)
    title = "This page cannot be shown" if request.method == "GET" else "Nothing was done"
    return render.render_page("", "error.html", status=status, title=f"{title} ({status})", sentence=sentence)


def _sign_in(request: Request) -> Response:
    """The page for somebody whom Airflow does not know, with the way in and back."""
    back = request.url.path if request.method == "GET" else f"{PREFIX}/"
    return render.render_page(
        "",
        "error.html",
        status=HTTPStatus.UNAUTHORIZED,
        title="Please sign in",
        sentence="These pages are for people who are signed in to Airflow.",
        sign_in=f"/api/v2/auth/login?next={quote(back, safe='/')}",
    )
