"""Paying for contribution. One law: credits are moved, never lost, and only what a quorum computed moves them.

A budget holder funds a *pot* for a task. Each round takes its share of the pot when it closes, the *stake*; with it
the validators compute, and sign as a part of the round's result, the exact Gram matrix of the updates and of the last
public global updates. From this matrix alone block execution finds out who contributed, and divides the stake.

Read in this order: `records` (what is said and kept), `matrix` and `past` (what validators compute), `scores` (who
contributed), `shares` (who gets how much), `accounts` (the only place where credits move), `pots` (stake and
settlement of a round), `payments` and `grants` (transactions and decisions that move credits), `slashing`.
"""
