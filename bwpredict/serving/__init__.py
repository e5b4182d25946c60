"""The consumer's side: fetch a model, check that it is the one agreed on, forecast with it. Needs no torch."""
