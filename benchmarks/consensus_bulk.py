"""Consensus while payloads of 100 MB move. One law: the uploader is a process of its own, as participants are.

python -m benchmarks.consensus_bulk --url URL --key FILE --genesis FILE     # uploads until its standard input ends
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from benchmarks.consortium import Bench
from foedus.client.opening import reach
from foedus.client.transfers import upload
from genesis.document import load_document
from genesis.keys import read_key
from ledger.payload import chunk_hashes, describe

PAYLOAD_BYTES: Final = 100_000_032
NICENESS: Final = 5
SECONDS_MAX: Final = 120.0


async def while_payloads_move(bench: Bench, probe: Callable[[], Awaitable[float]], samples: int) -> list[float]:
    """Return what `probe` says, at least `samples` times and until two payloads are with a quorum."""
    node = bench.consortium.nodes[0]
    options = {
        "url": node.url,
        "key": bench.consortium.participants[f"{node.name}-officer"],
        "genesis": bench.consortium.genesis,
    }
    command = [sys.executable, "-m", "benchmarks.consensus_bulk"]
    command += [part for option, value in options.items() for part in (f"--{option}", str(value))]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    took: list[float] = []
    try:
        async with asyncio.timeout(SECONDS_MAX):
            await _line(process.stdout)
            moved = asyncio.create_task(_lines(process.stdout, 2))
            while len(took) < samples or not moved.done():
                took.append(await probe())
            await moved
    finally:
        process.stdin.close()
        process.kill()
        await process.wait()
    return took


async def _lines(stream: asyncio.StreamReader, count: int) -> None:
    for _ in range(count):
        await _line(stream)


async def _line(stream: asyncio.StreamReader) -> None:
    if not await stream.readline():
        raise RuntimeError("the uploader ended: see what it said above")


async def upload_for_ever(url: str, key: Path, genesis: Path) -> None:
    """Upload one payload after the other; say a line at the beginning and after each."""
    async with reach(url, key=read_key(key), genesis=load_document(genesis)) as reached:
        print("begun", flush=True)
        while True:
            payload = os.urandom(32) + bytes(PAYLOAD_BYTES - 32)
            await upload(reached.wire, payload, describe(payload), chunk_hashes(payload))
            print("moved", flush=True)


def main() -> None:
    """Read the options and upload; a participant is a machine of its own, so it gives way to the nodes."""
    os.nice(NICENESS)
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "genesis"):
        parser.add_argument(f"--{name}", required=True)
    options = parser.parse_args()
    asyncio.run(upload_for_ever(options.url, Path(options.key), Path(options.genesis)))


if __name__ == "__main__":
    main()
