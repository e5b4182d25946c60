"""Secrets of the environment turn up nowhere: after runs that publish, are refused, and fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import ALERT_PASSWORD, AWS_SECRET, signing_key

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_planted_secrets_are_in_no_log_xcom_database_report_registry_or_work_area(airflow, scenarios) -> None:
    states = {run["state"] for run in scenarios.runs.values()}
    assert {"success", "failed"} <= states
    assert scenarios.alerts  # the alert's password was used
    assert list(scenarios.registry.rglob("provenance.dsse.json"))  # and so was the signing key
    key = signing_key(airflow.root).read_text().splitlines()[1]
    files = [path for path in airflow.root.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert {".db", ".log", ".json", ".html"} <= kinds
    for secret in (ALERT_PASSWORD, AWS_SECRET, key):
        assert not [path for path in files if secret.encode() in path.read_bytes()], secret[:8]


def test_the_search_would_find_a_secret(airflow, scenarios) -> None:
    run = next(iter(scenarios.runs))
    assert any(run.encode() in path.read_bytes() for path in Path(airflow.root).rglob("*.db"))
