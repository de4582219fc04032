"""A deterministic world for replicas: virtual time, a bad network, crashes, liars. Same seed, same trace.

`python -m tests.simulation --seeds 300 --n 4,7,10` runs many seeds; `--seed 17 --n 4` runs one again.
"""
