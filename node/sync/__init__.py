"""Catching up: how a node gets what it missed from peers that may lie. One law: a quorum's signature or nothing.

There is no mode of catching up. The replica says which heights it misses (`FetchBlocks`) while votes go on. A node that
finds those blocks pruned by its peers, or is new and told to begin so, follows the headers from what it has to a
certified height, takes the state after that height instead of the blocks, and goes on with blocks from there.

| file | what |
|---|---|
| `sources` | asking peers: false answers, slow ones, second ones |
| `spans` | spans of heights, fetched ahead and given in order |
| `checking` | blocks, checked in worker threads |
| `headers` | headers served, checked, and followed through changes of the set |
| `kept` | which states are kept to be served |
| `state` | states served, and fetched part by part |
| `snapshot` | when a snapshot is taken, of which height, and how |
| `progress` | figures for status and metrics |
"""
