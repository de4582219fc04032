"""Policies: what a consortium demands of rounds, in words officers can read. One law: who reads one decides as we do.

A policy is an expression in a part of Google's Common Expression Language (CEL) over typed inputs. Nothing in that part
depends on the order of a map, on floats, on the clock or on a library: it has integers, strings, booleans, lists of
records, and loops over these. Whatever could not be decided the same way everywhere is refused when it is proposed.

Read in this order: `syntax` (what an expression is made of), `tokens` and `parser` (from text), `types` and `checker`
(what may meet what), `cost` (how much work it may be), `evaluator`, `program` (a policy, ready to judge), `inputs` and
`occasions` (what is judged, and when), `records` and `state` (what the chain keeps), `actions` (what is voted on),
`sites` (what institutions declare), `facts` and `enforcement` (where execution asks).
"""
