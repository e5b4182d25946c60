"""Run the commands of docs/tutorial.md, and draw what the screen shows: docs/images/tutorial-*.svg.

Usage: python scripts/tutorial.py [folder]
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PAGE = Path("docs/tutorial.md")
PICTURES = Path("docs/images")
_END_OF_BLOCK = "---- end of block ----"
_WIDTH = 110


def blocks() -> list[str]:
    """The commands of the page, one text for each block."""
    return re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def run(folder: Path) -> list[str]:
    """What each block prints, in colour, when all are typed into one shell in this folder; raises where one fails."""
    script = "".join(f"{block}echo '{_END_OF_BLOCK}'\n" for block in blocks())
    environment = os.environ | {"COLUMNS": str(_WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    done = subprocess.run(  # noqa: S603 - our own page
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{PAGE}: a command failed:\n{done.stdout}")
    return done.stdout.split(f"{_END_OF_BLOCK}\n")[:-1]


def draw(number: int, block: str, output: str) -> None:
    """Picture `number`: the last command of the block, and what was printed."""
    console = Console(record=True, width=_WIDTH, file=io.StringIO())
    console.print(Text(f"$ {block.splitlines()[-1]}", style="bold"))
    console.print(Text.from_ansi("\n".join(_without_repetition(output.rstrip().splitlines()))))
    svg = console.export_svg(title="", theme=MONOKAI, unique_id=f"tutorial-{number}")
    # The fonts are asked for by URL: the reader's own monospace font takes their place.
    svg = re.sub(r"@font-face \{.*?\}\n?", "", svg, flags=re.DOTALL)
    (PICTURES / f"tutorial-{number}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _without_repetition(lines: list[str]) -> Iterator[str]:
    """Of more than three lines that differ in their figures alone, the first two, an ellipsis and the last."""
    for _, alike in groupby(lines, key=lambda line: re.sub(r"\d", "", line)):
        run_of_lines = list(alike)
        yield from run_of_lines if len(run_of_lines) <= 3 else [*run_of_lines[:2], "…", run_of_lines[-1]]


def main() -> None:
    """Draw every picture that the page shows."""
    page = PAGE.read_text()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    for number, (block, output) in enumerate(zip(blocks(), run(folder), strict=True), 1):
        if f"tutorial-{number}.svg" in page:
            draw(number, block, output.replace(str(folder), "~/bwpredict"))


if __name__ == "__main__":
    main()
