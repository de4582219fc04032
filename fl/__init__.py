"""Federated learning as the ledger's application. One law: same inputs, same bits, everywhere.

`schema` names the tensors of a model, `grid` holds the fixed-point words of updates and models, `aggregators` the exact
Byzantine-robust rules.
"""
