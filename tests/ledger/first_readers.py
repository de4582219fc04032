"""Records that several threads read for the first time at once, with switches between them as often as can be."""

from __future__ import annotations

import sys
from threading import Barrier, Thread
from types import ModuleType

from ledger.codec import Record, decode, encode

RECORDS = 60
READERS = 4
SOURCE = """
class Inner(Record):
    a: "int | None"
    b: "int | None"
    c: "int | None"
    d: "int | None"

class Outer(Record):
    first: Inner
    second: tuple[Inner, ...]
"""


def read_for_the_first_time(number: int) -> None:
    """Make a new record and read it in all threads at once."""
    module = ModuleType(f"records_{number}")
    sys.modules[module.__name__] = module
    made = module.__dict__
    made["Record"] = Record
    exec(SOURCE, made)  # noqa: S102 - new classes each time: only those have never been read
    inner = made["Inner"](1, 2, 3, 4)
    outer = made["Outer"](inner, (inner, inner))
    data = encode(outer)
    together = Barrier(READERS)
    wrong: list[Record] = []

    def read() -> None:
        together.wait()
        found = decode(data, made["Outer"], bytes_max=len(data))
        if found != outer:
            wrong.append(found)

    threads = [Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


if __name__ == "__main__":
    sys.setswitchinterval(1e-6)
    for number in range(RECORDS):
        read_for_the_first_time(number)
