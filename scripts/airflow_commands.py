"""Run Airflow's commands, one a line on standard input, in one process: each start of Airflow takes seconds."""

from __future__ import annotations

import shlex
import sys

from airflow.__main__ import main

if __name__ == "__main__":
    for line in sys.stdin:
        sys.argv = ["airflow", *shlex.split(line)]
        main()  # type: ignore[no-untyped-call]
