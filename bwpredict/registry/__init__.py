"""The model registry: publish, promote, roll back, read; over any store."""
