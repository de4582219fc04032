"""A round in a real Ray cluster of two nodes: `python -m tests.node.ray_round JOB PAYLOADS`, for a test.

Prints the result's digest and on how many nodes the shards were worked on.
"""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from fl.results import AggregationJob
from node.aggregation import Aggregation
from node.config import AggregationSection
from node.payloads.files import PayloadFiles


def main() -> None:
    """Start the cluster, compute, tell, end it."""
    job: AggregationJob = pickle.loads(Path(sys.argv[1]).read_bytes())  # noqa: S301 - the test's own
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        settings = AggregationSection(executor="ray", ray_address=cluster.address, memory_mb=1)
        aggregation = Aggregation(settings, PayloadFiles(Path(sys.argv[2])).read_into)
        with ThreadPoolExecutor(1) as thread:  # as in a node, whose main thread has an event loop to run
            _, computed = thread.submit(aggregation.stream, job, None).result()
        print(computed.result.digest.hex(), sum(node["Alive"] for node in ray.nodes()))  # noqa: T201 - for the test
        aggregation.close()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
