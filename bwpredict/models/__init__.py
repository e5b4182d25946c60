"""The forecaster: one stateful LSTM for windows and for streams.

```
features.py   raw samples to what the network sees: log levels, moving averages, the last samples; the link's memory
network.py    the network: LSTM, dense head and direct path, quantiles for several horizons, raw units in and out
```
"""
