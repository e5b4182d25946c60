import shutil

import pytest
from profiles import measure
from quality_telemetry import generate, rewrite_all


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """Three links, two days (2026-11-02 and 03), nothing wrong. Do not change it."""
    return generate(tmp_path_factory.mktemp("healthy") / "telemetry")


@pytest.fixture(scope="session")
def champion_profile(healthy):
    return measure(healthy)


@pytest.fixture
def telemetry(healthy, tmp_path):
    """A copy of the healthy telemetry, to break."""
    return shutil.copytree(healthy, tmp_path / "telemetry")


@pytest.fixture
def break_all(telemetry):
    """Apply a change to every day of `telemetry`, and return its folder."""

    def change_all(change):
        rewrite_all(telemetry, change)
        return telemetry

    return change_all
