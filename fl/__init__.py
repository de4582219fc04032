"""Federated learning as the ledger's application. One law: same inputs, same bits, everywhere.

`application` says which kind of transaction is handled where. Numbers: `schema` names the tensors of a model, `grid`
holds the fixed-point words of updates and models, `aggregators` the exact Byzantine-robust rules (`kernels` their
compiled passes), `optimisers` how the model moves by an aggregate, `results` and `streaming` a whole round's result,
in memory or shard by shard. Rounds: `tasks`, `rounds`, `updates`, `aggregates`, `evaluations`. What members decide:
`membership` (proposals and seats), `governance` (pauses, changes, releases), `policies`, `privacy` (budgets),
`incentives` (pay). `explanation` says why a round came out as it did. `sealed` is a library: no transaction uses it
yet.
"""
