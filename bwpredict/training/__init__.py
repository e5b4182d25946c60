"""Training in two stages: the highway first, which is quick, then the guide's layers beside it.

Each epoch sees a budget of windows; the best checkpoint by validation loss is kept, one record an epoch.

```
run.py         what is trained after what: `train`, `prune_and_fine_tune`, `warm_start`
stage.py       one stage: epochs, steps, learning rate, early stopping
samples.py     windows as tensors, cut on the host or on the device
loss.py        the loss of a batch and of an index
level_drift.py how far links' levels move from day to day, which training learns to live with
progress.py    the best model and the records so far, and the history document
memory.py      memory that is freed is kept while it trains
resume.py      what a training that was killed continues from
confirmation.py  what validation confirms of all that was learnt
ranks.py       one training over several processes: who takes which windows; batch_norm.py is over all of them
launch.py      starts them; job.py is what they are given, rank.py what each runs, join.py what other machines run
```
"""

from bwpredict.training.loss import evaluate_loss
from bwpredict.training.progress import OnEpoch, Record, Training, log_epoch
from bwpredict.training.resume import Resume
from bwpredict.training.run import prune_and_fine_tune, train

__all__ = [
    "OnEpoch",
    "Record",
    "Resume",
    "Training",
    "evaluate_loss",
    "log_epoch",
    "prune_and_fine_tune",
    "train",
]
