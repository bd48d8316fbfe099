"""Memory that was freed stays with the process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from ttame.memory_reuse import keep_freed_memory

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
before = resident()
block = bytearray(b"x" * 1) * (100 << 20)
held = resident() - before
del block
print(kept, held > 90, resident() - before > 90)
"""

needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="memory of the GNU C library",
)


def said(word: str, **environment: str) -> str:
    usual = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word],
        env={**usual, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@needs_glibc
def test_a_large_block_stays_where_it_was_asked_for_and_only_there() -> None:
    assert said("keep") == "True True True"
    assert said("as it is") == "None True False"


@needs_glibc
def test_what_the_user_has_set_stands() -> None:
    assert said("keep", MALLOC_ARENA_MAX="4") == "False True False"
