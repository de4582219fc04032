"""What a node does with memory that it has freed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HOLDER = """
from pathlib import Path
from node.memory import give_back, keep_freed_memory

def resident_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) >> 10

assert keep_freed_memory()
before = resident_mb()
chunks = [bytes([number]) * (1 << 20) for number in range(100)]
held = resident_mb()
del chunks
freed = resident_mb()
give_back()
print(before, held, freed, resident_mb())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the GNU C library's allocator is spoken to on Linux alone")
def test_freed_chunks_stay_with_the_process_until_they_are_given_back() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", HOLDER], cwd=root, capture_output=True, text=True, check=True)
    before, held, freed, given_back = map(int, done.stdout.split())
    assert held >= before + 100
    assert freed >= held - 10
    assert given_back <= before + 10
