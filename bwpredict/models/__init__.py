"""The network, its intervals, checkpoints, ONNX export and compression."""
