"""Buttons on the task pages that lead to what the task wrote: report, Data Docs, registry entry."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import attrs
from airflow.sdk import BaseOperatorLink

from bwpredict.config import Settings
from bwpredict.pipeline.model_catalog import model_of_dag

PREFIX = "/bandwidth-models"
"""Path of the plugin's pages, below Airflow's own address."""


def model_page(model: str) -> str:
    """Address of the pages of one model, without a slash at its end."""
    return f"{PREFIX}/of/{quote(model)}"


def run_page(model: str, run_id: str, name: str = "") -> str:
    """Address of the page of a run, or of one of its files."""
    return f"{model_page(model)}/runs/{quote(run_id, safe='')}" + (f"/files/{name}" if name else "")


def run_url(settings: Settings, dag_id: str, run_id: str) -> str:
    """Address of the run's page in Airflow."""
    return f"{settings.base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


@attrs.define()
class _PageLink(BaseOperatorLink):
    """A button that leads to a page of the run; the file is there once its task is done, red or green."""

    page = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the page."""
        model = model_of_dag(ti_key.dag_id, Settings()).name
        return f"{run_page(model, ti_key.run_id)}/{self.page}"


@attrs.define()
class ReportLink(_PageLink):
    """The model card of the run."""

    name = "Report"
    page = "files/model_card.html"


@attrs.define()
class DataDocsLink(_PageLink):
    """Great Expectations' pages of the run."""

    name = "Data Docs"
    page = "files/validation/data_docs/index.html"


@attrs.define()
class RegistryLink(_PageLink):
    """The run's verdict, with the way to the registry's entry of the version."""

    name = "Registry entry"
    page = "version"


LINKS = (ReportLink(), DataDocsLink(), RegistryLink())


def add_links(of_task: Any, *links: BaseOperatorLink) -> None:
    """Put the links on the task that the XComArg comes from: `@task` has no parameter for them."""
    of_task.operator.operator_extra_links = links
