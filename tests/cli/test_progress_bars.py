"""Progress bars on a terminal, and their absence elsewhere."""

import os
import pty
import subprocess
import sys

GENERATE = ("generate", "--links", "2", "--days", "400", "--start", "2026-10-01", "--output", "telemetry")


def run(folder, *arguments, **environment):
    """All that the command writes to a terminal that is its stderr; and what it writes to its stdout, a pipe."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bwpredict", *arguments],
        cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, stderr=slave, text=True,
    ) as process:  # fmt: skip
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


def test_a_task_of_seconds_shows_a_bar_with_the_time_left_and_leaves_none_behind(tmp_path):
    seen, out = run(tmp_path, *GENERATE)
    assert "Generating" in seen
    assert "/400 [" in seen
    assert "<" in seen.split("/400 [")[1].split("]")[0]
    assert seen.rstrip(" \r").endswith("\r") or not seen.splitlines()[-1].strip()
    assert out == "Saved to: telemetry\n"


def test_bars_can_be_turned_off(tmp_path):
    assert run(tmp_path, *GENERATE, TQDM_DISABLE="1") == ("", "Saved to: telemetry\n")


def test_there_is_no_bar_in_a_file(tmp_path):
    command = [sys.executable, "-m", "bwpredict", *GENERATE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stderr, done.stdout) == ("", "Saved to: telemetry\n")
