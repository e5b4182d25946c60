"""Fixtures that every part of the tests may use."""

import os

# Two test processes share two cores: a thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["fixtures_alerts", "fixtures_cli", "fixtures_prometheus", "fixtures_mlflow", "fixtures_s3"]
