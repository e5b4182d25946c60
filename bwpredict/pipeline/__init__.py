"""Pipeline steps and run configuration; each step reads and writes files of the run's workspace."""
