"""Where a round is computed. One law: whoever works on it, in whatever shards, the bits are the same.

`Aggregation` decides whether a round's updates fit into memory. Those that do are read into it and worked on by threads
(`fl.results`). Those that do not, and all with another executor than threads, are cut into shards of coordinates that
are read from the payload store, each chunk decrypted and authenticated, as an executor gets to them (`fl.streaming`):
threads of this process, processes of this machine, or a Ray cluster.
"""

from node.aggregation.aggregation import DEFAULTS, Aggregation
from node.aggregation.executor import Executor, WorkerError
from node.aggregation.updates import StoredUpdates

__all__ = ["DEFAULTS", "Aggregation", "Executor", "StoredUpdates", "WorkerError"]
