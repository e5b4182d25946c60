"""The profile of a folder of telemetry."""

from pathlib import Path

from bwpredict.profiling.batches import partitions, parts_of_day
from bwpredict.profiling.profile import Profile, measure_day, merge


def measure(telemetry: Path) -> Profile:
    """The profile of the folder `telemetry/`, read part by part."""
    return merge(measure_day(day, part) for day, path in partitions(telemetry) for part in parts_of_day(path))
