"""bwpredict: the monthly retraining of the DWCP bandwidth predictor."""

import os

__version__ = "0.1.0"

# Torch's threads (GNU OpenMP) wait for one another in a busy loop. Where another process wants the same
# core, that loop burns the very time the other thread needs: on two shared cores training fell from 1,100
# windows/s to under 40. A short loop costs nothing on idle cores. Read when torch is loaded, hence here.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
