"""Run models with ONNX Runtime: guarded sessions, batch prediction, confidence."""
