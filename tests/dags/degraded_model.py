"""A model in production that has got worse: all days but the one on which the alarm begins are monitored already."""

from datetime import timedelta
from pathlib import Path

from monitored import FIRST, NOW, publish_three

from bwpredict.monitoring.daily import monitor_day
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

ALARM = FIRST + timedelta(days=9)


def prepare(telemetry: str, registry: str, scratch: Path) -> None:
    """Telemetry until the day after the alarm, three models, and the days before the alarm."""
    write_partitioned(FleetConfig(links=2, days=11, start=FIRST.isoformat(), seed=3), Path(telemetry))
    models = open_store(registry)
    publish_three(models, scratch / "models", factor=1.5, share=0)
    for number in range(1, (ALARM - FIRST).days):
        monitor_day(models, open_store(telemetry), FIRST + timedelta(days=number), scratch / "scratch", now=NOW)
