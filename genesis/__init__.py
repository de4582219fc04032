"""From the consortium's agreement to block 0. One law: who holds the genesis document can check the chain.

`document` is what the members agree on, `keys` are the secrets each of them keeps, `local` makes everything for a
consortium on one machine, `presets` are tasks to begin with; `reading` turns what people write into records and tells
every fault at once.
"""
