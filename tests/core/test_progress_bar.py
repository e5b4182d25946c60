"""Progress bars on a terminal, and their absence elsewhere."""

import os
import pty
import re
import subprocess
import sys
import termios

import pytest

TASK = """
import logging, sys, time
from bwpredict.core.progress_bar import LogAboveBars, track
logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogAboveBars(sys.stdout)])
for day in track(range(25), "Reading", "days", 25):
    time.sleep(0.1)
    if day == 20:
        logging.info("half of it is read")
"""


def on_a_terminal(code, **environment):
    """What the program writes to a terminal that is its stderr, and to a pipe that is its stdout."""
    try:
        master, slave = pty.openpty()
    except OSError:
        pytest.skip("this machine has no pseudo-terminals")
    termios.tcsetwinsize(slave, (24, 100))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, env={**os.environ, "TQDM_DISABLE": "", **environment}, stdout=subprocess.PIPE, stderr=slave, text=True
    ) as process:
        os.close(slave)
        seen = b""
        try:
            while chunk := os.read(master, 4096):
                seen += chunk
        except OSError:  # the terminal's last writer has ended
            pass
        out = process.stdout.read()
    os.close(master)
    assert process.returncode == 0
    return seen.decode(), out


def test_a_task_of_seconds_shows_a_bar_with_the_time_left_and_leaves_nothing_behind():
    seen, out = on_a_terminal(TASK)
    shown = [state for state in seen.split("\r") if "Reading" in state]
    assert any(re.search(r"/25 \[\d\d:\d\d<\d\d:\d\d,", state) for state in shown), shown
    assert not seen.split("\r")[-2].strip()
    assert out == "half of it is read\n"


def test_a_short_task_shows_no_bar():
    assert "Reading" not in on_a_terminal(TASK.replace("0.1", "0.001").replace("day == 20", "day == 99"))[0]


def test_bars_can_be_turned_off():
    assert on_a_terminal(TASK, TQDM_DISABLE="1") == ("", "half of it is read\n")


def test_there_is_no_bar_in_a_file():
    done = subprocess.run([sys.executable, "-c", TASK], capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout) == ("", "half of it is read\n")
