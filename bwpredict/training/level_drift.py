"""How far the levels of a link move from day to day, measured on the training windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bwpredict.datasets.windows import DAY_SECONDS, WindowIndex
from bwpredict.models.network import Forecaster

MOST_LINKS = 200
SAMPLES_OF_A_LINK = 2_000


def measure_level_drift(model: Forecaster, train: WindowIndex) -> Tensor:
    """[levels], in log space: the standard deviation of a link's daily means, root mean square over links.

    0 where no link has windows on two days. Large fleets: of some links, evenly spread.
    """
    windows = train.windows_of_links()
    links = np.flatnonzero(windows)
    links = links[np.linspace(0, len(links) - 1, min(len(links), MOST_LINKS)).astype(np.int64)]
    before = np.cumsum(windows) - windows
    which = np.concatenate(
        [before[link] + np.linspace(0, windows[link] - 1, min(windows[link], SAMPLES_OF_A_LINK)) for link in links]
    ).astype(np.int64)
    levels = pd.DataFrame(model.levels(torch.from_numpy(train.last_samples(which))).numpy())
    rows = train.positions.rows(which)
    daily = levels.groupby([train.frame.link[rows], train.frame.timestamps[rows] // DAY_SECONDS]).mean()
    variances = daily.groupby(level=0).var()
    return torch.from_numpy(np.sqrt(variances.mean().fillna(0.0)).to_numpy(dtype=np.float32))
