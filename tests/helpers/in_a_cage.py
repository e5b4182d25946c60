"""Run one function of the product in a child process that may not take much memory or time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MEMORY_MIB = 6000
"""Address space, most of which torch and Arrow only reserve; the bombs below would take 8,000 and more."""
SECONDS = 60

_PROGRAM = """
import re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({memory} << 20, {memory} << 20))
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
from pathlib import Path
from bwpredict.errors import BwPredictError
path = Path(sys.argv[1])
try:
    {call}
except BwPredictError as error:
    print("refused:", error)
    # Not ru_maxrss: a child keeps the peak of the process that forked it, even after it runs another program.
    print("peak", int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
else:
    print("taken")
"""


def refusal(call: str, path: Path) -> str:
    """The sentence by which `call`, which may use `path`, refuses; fails if it takes the file, crashes or hangs."""
    program = _PROGRAM.format(memory=MEMORY_MIB, seconds=SECONDS, call=call.replace("\n", "\n    "))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=5 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, _, peak = done.stdout.partition("\npeak ")
    assert said.startswith("refused:"), done.stdout
    assert int(peak) < 1500, f"took {peak} MiB"
    assert "Traceback" not in done.stderr
    return said
