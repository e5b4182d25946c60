"""The workspace of a run: its files, references between steps, and its copy in an object store."""
