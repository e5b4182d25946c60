"""The accuracy benchmark: every model on the same windows, splits and horizon, and who is first."""
