"""Measurements, never tests: figures with their command. One law: compare within one run, since machines are shared.

python -m benchmarks.round --json         # a big round, its phases, memory and CPU; --flower, --probe
python -m benchmarks.consensus --json     # latency, throughput, memory, faults: 4, 7 and 16 nodes as processes
python -m benchmarks.recovery --json      # after a killed primary, a restart, two of four down
python -m benchmarks.sync --json          # a new node: blocks a second, headers a second
python -m benchmarks.sealed --json        # a sealed round beside the open one and SecAgg+
python -m benchmarks.robustness --quick   # accuracy under attack, rule by rule; `--json`, `--only`
python -m benchmarks.sealed_loopback --json  # the same with a process for each party, over TCP
python -m benchmarks.light_proof --json   # size and cost of a light client's proof
"""
