"""Train one model with several processes, on one machine or on several."""
