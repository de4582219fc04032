"""Bucketing: means of a few rows each, drawn by lot. One law: nobody can know the lots before the round is closed.

Formula: the rows in the order of `digest("bucketing", seed, u64(i))` are cut into pieces of s, the last one may be
shorter; a bucket is the mean of its rows.
Breakdown point: that of the rule behind it, with f liars among ceil(n / s) buckets.
Minimum n: s (m - 1) + 1, m what the rule behind it needs.
Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022,
Algorithm 1.
Differs from it in: the order comes from SHA-256 over the round's seed, so that every validator draws the same lots;
sums are kept and brought to a common multiple of the bucket sizes, so nothing is rounded. ByzFL draws by numpy's or
torch's generator.
Cost: O(n d), together with the rule's pass.
"""

from __future__ import annotations

from math import lcm

from fl.aggregators.mixing import Mixing
from ledger.digest import digest


def buckets(count: int, size: int, seed: bytes) -> Mixing:
    """Return who is summed with whom.

    Args:
        count: n >= 1.
        size: s, 2..`BUCKET_MAX`.
        seed: of the round; who knows it before submitting could choose company.
    """
    order = sorted(range(count), key=lambda row: digest("bucketing", seed, row.to_bytes(8, "big")))
    members = tuple(tuple(sorted(order[start : start + size])) for start in range(0, count, size))
    weight = lcm(*map(len, members))
    return Mixing(members, tuple(weight // len(rows) for rows in members), weight)
