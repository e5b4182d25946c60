"""Train the network: truncated back-propagation through time over streams, with windows beside them.

```
trainer.py        what is trained: `train`, `continue_champion`
batches.py        what training draws: streams with gaps and jumps, and windows
loop.py           one stage: updates, learning rate, early stopping
loss.py           the loss of a batch
validation.py     a part of the split as consumers meet it: windows from an empty state, and streams
post_fit.py       what validation confirms of the network, beside simple forecasts
warm_up.py        how long a stream warms up
intervals.py      conformal calibration of the quantiles
progress.py       the best model and the records so far, and the history document
checkpointing.py  what a training that was killed continues from
warm_start.py     the champion's weights as a start
distributed/      one training over several processes and machines
```
"""
