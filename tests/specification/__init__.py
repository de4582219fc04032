"""The specification in docs/spec, checked by its simulator, and the replicas checked against it.

`make spec` installs the simulator and runs `python -m tests.specification`.
"""
