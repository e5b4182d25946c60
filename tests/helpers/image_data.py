"""What `make test-image` serves: `image_data.py FOLDER` makes a registry with an untrained model, and telemetry."""

import sys
from pathlib import Path

from challengers import V1
from frames import whole_days
from models import publish_stream_model, restless_model

from bwpredict.config import SplitConfig
from bwpredict.datasets.windows import index_windows, split_windows
from bwpredict.simulation.fleet import FleetConfig
from bwpredict.simulation.writer import write_partitioned
from bwpredict.store.factory import open_store

folder = Path(sys.argv[1])
network = restless_model(split_windows(index_windows(whole_days(8, links=3), 20, 15), SplitConfig()), std=0.05)
publish_stream_model(open_store(str(folder / "registry")), folder / "made", V1, network)
write_partitioned(FleetConfig(links=3, days=1, start="2026-10-26", seed=3), folder / "telemetry")
