"""The consumer's side: pull a model, verify it and forecast with it. Needs no torch."""
