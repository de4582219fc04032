"""Whole nodes on virtual time: `node.core` as it runs in a process, over a virtual disk and virtual links.

| file | what it is |
|---|---|
| `loop` | an event loop whose clock jumps to whatever is due next |
| `disk` | a store and payload files that lose what was not synced |
| `links` | frames and bulk between nodes, through the world's faults |
| `site` | one node: its process comes and goes, its disk stays |
| `trainer` | a participant beside a node |
| `lies` | what a lying node does beside consensus: payloads, results, blocks |
| `checkers` | the promises |
| `world` | one run |
"""
