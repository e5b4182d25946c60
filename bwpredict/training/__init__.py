"""Train the network: windows as tensors, the training loop, checkpoints, and what validation confirms afterwards."""
