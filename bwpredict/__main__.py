"""Run the command line: `python -m bwpredict`."""

from bwpredict.cli.main import main

main()
