"""Each local process stands for a container: its name is the container's host name."""

import os


def name() -> str:
    return os.environ["CONTAINER"]
