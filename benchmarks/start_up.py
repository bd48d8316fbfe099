"""How long imports and help take.

python -m benchmarks.start_up
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.benchmark_page import median, table, write_section

COMMANDS = {
    "python -c pass": ([sys.executable, "-c", "pass"], None),
    "import ttame": ([sys.executable, "-c", "import ttame"], 0.3),
    "ttame --help": ([sys.executable, "-m", "ttame", "--help"], 0.5),
    "ttame train --help": ([sys.executable, "-m", "ttame", "train", "--help"], None),
}


def main() -> None:
    rows = []
    for name, (command, limit) in COMMANDS.items():
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
        rows.append([name, f"{median(seconds):.3f} s", f"{limit} s" if limit else ""])
    body = table(["command", "median of 7", "limit"], rows)
    write_section("start-up", "Start-up", "python -m benchmarks.start_up", body)


if __name__ == "__main__":
    main()
