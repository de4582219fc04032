"""The SDK: what a participant's script needs of its institution's node. One law: what can be checked is checked here.

| module | what it does |
|---|---|
| `errors` | what can go wrong, and what to do then |
| `wire` | one HTTP request, again and again until the node answers |
| `following` | validator sets, from the genesis document on |
| `progress` | how far a transfer is |
| `facts` | facts of the state with their proofs |
| `statements` | from a record to a transaction in a block |
| `updates` | from trained arrays to the bytes and the transaction of an update |
| `transfers` | uploads and downloads that go on where they broke off |
| `opening` | key, chain, enrolment |
| `session` | rounds, submissions and evaluations (asyncio) |
| `sync` | the same for scripts without asyncio |

The wire is the only module that talks to the network; `updates` has no I/O at all.
"""
