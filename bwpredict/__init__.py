"""bwpredict: the monthly retraining of the DWCP bandwidth predictor."""

import os

__version__ = "0.2.0"

# Torch's threads (GNU OpenMP) wait for one another in a busy loop. Where another process wants the same
# core, that loop burns the very time the other thread needs: on two shared cores, training fell from 1,100
# windows/s to under 40 with the usual loop and to 600 with this short one, which costs nothing on idle
# cores. The variable is read when torch is loaded, hence here.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# From 1.29 on, ONNX Runtime's builds for Linux report usage to their maker unless this is set when they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Arrow's allocator (mimalloc) and NumPy ask for huge pages, which the kernel zeroes whole even where little of them is
# used: those of Arrow cost a snapshot 15 % more CPU time. The variables are read when pyarrow and NumPy are loaded.
os.environ.setdefault("MIMALLOC_ALLOW_THP", "0")
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
