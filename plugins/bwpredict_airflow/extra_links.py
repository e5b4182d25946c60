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


def _page(ti_key: Any, name: str = "") -> str:
    return run_page(model_of_dag(ti_key.dag_id, Settings()).name, ti_key.run_id, name)


@attrs.define()
class ReportLink(BaseOperatorLink):
    """The model card of the run."""

    name = "Report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the model card; it is there once `decide` is done."""
        return _page(ti_key, "model_card.html")


@attrs.define()
class DataDocsLink(BaseOperatorLink):
    """Great Expectations' pages of the run."""

    name = "Data Docs"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the Data Docs; they are there once `validate` is done, red or green."""
        return _page(ti_key, "validation/data_docs/index.html")


@attrs.define()
class RegistryLink(BaseOperatorLink):
    """The run's verdict, with the way to the registry's entry of the version."""

    name = "Registry entry"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's signature
        """Address of the page of the run's version in the registry."""
        return f"{_page(ti_key)}/version"


LINKS = (ReportLink(), DataDocsLink(), RegistryLink())


def add_links(of_task: Any, *links: BaseOperatorLink) -> None:
    """Put the links on the task that the XComArg comes from: `@task` has no parameter for them."""
    of_task.operator.operator_extra_links = links
