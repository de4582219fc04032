"""Models that were certified but not yet on disk when a node stopped. One law: what can be computed is not lost.

A validator signs a result as soon as it has computed it, and its model is put on disk meanwhile. If every node loses
power in that moment, the model is nowhere; but the updates that it follows from are, on a quorum's disks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fl.records import TaskState
from fl.results import AggregationJob, producing_job
from fl.state import TASK_PREFIX, decoded, model_of, task_key
from ledger.application import StateReader
from ledger.digest import Digest
from node.payloads import PayloadStore
from node.store import Store

PAGE: Final = 256


def lost_models(store: Store, state: StateReader, payloads: PayloadStore) -> Iterator[AggregationJob]:
    """Yield the job of each task's latest model that is not here although all that it follows from is."""
    for task in _tasks(store):
        model = model_of(state, task.spec.id, task.version)
        if model is None or model.payload is None or _is_settled(payloads, model.payload.id):
            continue
        job = producing_job(state, model)
        if job is not None and all(payloads.has(payload.id) for payload in job.payloads):
            yield job


def _is_settled(payloads: PayloadStore, payload_id: Digest) -> bool:
    return payloads.has(payload_id) or payloads.is_erased(payload_id)


def _tasks(store: Store) -> Iterator[TaskState]:
    after = b""
    while True:
        rows = store.state_items(TASK_PREFIX, after=after, limit=PAGE)
        tasks = [decoded(value, TaskState) for _, value in rows]
        yield from tasks
        if len(rows) < PAGE:
            return
        after = task_key(tasks[-1].spec.id)
