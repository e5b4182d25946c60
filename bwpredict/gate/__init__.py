"""The promotion gate: checks of accuracy and against the champion, decided by a policy."""
