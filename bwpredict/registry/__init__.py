"""The model registry: publish, promote, roll back and read versions, over any store."""
