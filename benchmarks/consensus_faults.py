"""How soon a consortium goes on after a fault. One law: nobody touches anything but the process that failed."""

from __future__ import annotations

import asyncio
from functools import partial
from statistics import median
from time import perf_counter
from typing import Final

from benchmarks.consortium import Bench

KILLS: Final = 5


async def killed_primary(bench: Bench) -> dict[str, float]:
    """Kill the validator that is to propose the next block; time until a transaction sent at once stands in one."""
    took = []
    for _ in range(KILLS):
        state = await bench.status(bench.consortium.nodes[0].url)
        assert state is not None, "all nodes are up"
        size = len(bench.consortium.nodes)
        primary = (state.height + 1) % size
        other = bench.senders[(primary + 1) % size]
        raw = bench.proposal(other)
        bench.kill(bench.consortium.nodes[primary])
        began = perf_counter()
        await bench.submit(other, raw, wait=True)
        took.append(1000 * (perf_counter() - began))
        bench.start(bench.consortium.nodes[primary])
        await bench.until(bench.all_connected, pause=0.05)
    return {"median": round(median(took), 1), "max": round(max(took), 1)}


async def restarted(bench: Bench) -> dict[str, float]:
    """Kill a validator and start it again; time from the start of its process to its first vote in a certificate."""
    took = []
    for _ in range(KILLS):
        node, other = bench.consortium.nodes[0], bench.senders[1]
        bench.kill(node)
        await bench.submit(other, bench.proposal(other), wait=True)
        began = perf_counter()
        bench.start(node)

        await bench.until(partial(_first_votes, bench))
        took.append(perf_counter() - began)
        await bench.until(bench.all_connected, pause=0.05)
    return {"median": round(median(took), 2), "max": round(max(took), 2)}


async def _first_votes(bench: Bench) -> bool:
    other = bench.senders[1]
    await bench.submit(other, bench.proposal(other), wait=True)
    state = await bench.status(other.url)
    return state is not None and await bench.voted(other.url, 0, state.height)


async def many_down(bench: Bench, seconds_down: float) -> dict[str, float]:
    """Kill one more than f, wait, start them; time from then until a transaction that waited stands in a block."""
    nodes = bench.consortium.nodes
    sender = bench.senders[-1]
    away = nodes[: bench.consortium.document.validators.faulty_max + 1]
    for node in away:
        bench.kill(node)
    raw = bench.proposal(sender)
    await bench.submit(sender, raw, wait=False)
    await asyncio.sleep(seconds_down)
    before = await bench.status(sender.url)
    assert before is not None, "this node was up all the time"
    assert before.mempool_transactions == 1, "too few were up to decide"
    began = perf_counter()
    for node in away:
        bench.start(node)

    async def decided() -> bool:
        state = await bench.status(sender.url)
        return state is not None and state.height > before.height

    await bench.until(decided)
    took = perf_counter() - began
    await bench.until(bench.all_connected, pause=0.05)
    return {"down": len(away), "seconds_down": seconds_down, "next_block_s": round(took, 2)}
