"""Everything of an institution's node that touches the world: network, disk, clock, HTTP. One law: it decides nothing.

What is valid is decided by `ledger` and `fl`, what comes next by `consensus`; the node carries bytes between them and
the world. Begin at `node.driver`.
"""
