"""Catching up: how a node gets what it missed from peers that may lie. One law: a quorum's signature or nothing.

There is no mode of catching up. The replica says which heights it misses (`FetchBlocks`) while votes go on; a node that
finds those blocks pruned everywhere, or was told to begin with a snapshot, takes the chain of headers and a certified
state instead, and goes on from there with blocks.

| file | what |
|---|---|
| `sources` | asking peers: false answers, slow ones, second ones |
| `spans` | spans of heights, fetched ahead and given in order |
| `checking` | checking blocks and headers in worker threads |
"""
