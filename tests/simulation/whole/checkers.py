"""What must hold of whole nodes. One law: recomputed from what honest participants said, never asked of a node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from fl.records import UpdateSubmission
from fl.results import claimed_results, closed_jobs, compute
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, verify_vote
from ledger.codec import CodecError, decode
from ledger.digest import Digest
from ledger.execution import Execution, InvalidBlockError, execute_block
from ledger.fields import Height
from ledger.reigns import validators_of
from ledger.transaction import TRANSACTION_BYTES_MAX, decode_transaction, transaction_id
from node.inbox import BYTES_MAX
from node.results import RESULT_VOTE_BYTES_MAX, ROUNDS_REMEMBERED_MAX, ResultVote
from node.wire import Acknowledged, Channel, decode_payload_frame
from tests.simulation.checkers import BrokenPromiseError
from tests.simulation.whole.site import APPLICATION, LIMITS

if TYPE_CHECKING:
    from tests.simulation.whole.consortium import Consortium
    from tests.simulation.whole.site import Site


class WholeChainChecker:
    """One chain for all (I1), valid, certified by a real quorum, its models recomputed (I3), its updates kept (I5)."""

    def __init__(self, consortium: Consortium, honest: list[Site], payloads: dict[Digest, bytes]) -> None:
        self._chain_id: Final = consortium.document.chain_id
        self._honest: Final = honest
        self._payloads: Final = payloads
        self._ids: Final[list[Digest]] = [self._chain_id]
        self._time_ms = consortium.document.time_ms
        self.state = consortium.state
        self.committed: Final[set[Digest]] = set()
        """Ids of transactions in blocks."""

        self.models = 0
        self._heights: Final[dict[str, int]] = {}

    @property
    def height(self) -> int:
        """Height of the longest honest chain."""
        return len(self._ids) - 1

    def started(self, site: Site, height: Height) -> None:
        """Check that a process begins where its node had told that it was."""
        if height < self._heights.get(site.name, 0):
            raise BrokenPromiseError(f"{site.name} has lost block {self._heights[site.name]}, it begins at {height}")

    def append(self, site: Site, certified: CertifiedBlock) -> None:
        """Check a block that an honest node appends."""
        block = certified.block
        height = block.header.height
        if not site.is_in_batch:
            self._heights[site.name] = height
        if height < len(self._ids):
            if self._ids[height] != block.id:
                raise BrokenPromiseError(f"{site.name} appends another block at height {height}: a fork")
            return
        self._require_quorum(site, certified)
        try:
            execution = execute_block(APPLICATION, self.state, self._ids[-1], self._time_ms, block)
        except InvalidBlockError as error:
            raise BrokenPromiseError(f"{site.name} appends block {height}, which is invalid: {error}") from error
        self._require_recomputed(execution)
        self._require_kept(execution)
        self.state, self._time_ms = execution.state, block.header.time_ms
        self._ids.append(block.id)
        self.committed.update(map(transaction_id, block.transactions))

    def _require_quorum(self, site: Site, certified: CertifiedBlock) -> None:
        validators, certificate = validators_of(self.state), certified.certificate
        height, n = Height(certified.block.header.height), len(validators)
        needed = next(q for q in range(1, n + 1) if 2 * q - n > (n - 1) // 3)
        good = {
            seal.validator
            for seal in certificate.seals
            if verify_vote(self._chain_id, COMMIT, height, certificate.view, validators, certified.block.id, seal)
        }
        if len(good) < needed:
            raise BrokenPromiseError(f"{site.name} appends block {height} with {len(good)} COMMITs, needs {needed}")

    def _require_recomputed(self, execution: Execution) -> None:
        jobs = {(job.spec.id, job.round.number): job for job in closed_jobs(self.state)}
        accepted = [
            raw for raw, receipt in zip(execution.transactions, execution.receipts, strict=False) if receipt.accepted
        ]
        for result in claimed_results(accepted):
            job = jobs[result.task, result.round]
            base = None if job.base.payload is None else self._payloads[job.base.payload.id]
            missing = [update.participant for update in job.updates if update.payload.id not in self._payloads]
            if missing:
                raise BrokenPromiseError(f"{result.task}/{result.round} is certified without updates of {missing}")
            computed = compute(job, base, [self._payloads[update.payload.id] for update in job.updates])
            if computed.result != result:
                raise BrokenPromiseError(f"the certified result of {result.task}/{result.round} is another aggregate")
            self._payloads[result.model.id] = computed.model_payload
            self.models += 1

    def _require_kept(self, execution: Execution) -> None:
        """I5: f + 1 honest nodes have every update that a block takes."""
        validators = validators_of(self.state)
        needed = validators.quorum - validators.faulty_max
        for raw, receipt in zip(execution.transactions, execution.receipts, strict=False):
            transaction = decode_transaction(raw)
            if not receipt.accepted or transaction.kind != "update":
                continue
            update = decode(transaction.payload, UpdateSubmission, bytes_max=TRANSACTION_BYTES_MAX)
            payload = update.availability.acknowledgement.payload
            holders = [site.name for site in self._honest if payload.id in site.disk.payloads]
            if len(holders) < needed:
                raise BrokenPromiseError(f"an accepted update is kept by {holders} of the honest, needs {needed}")


class StatementLedger:
    """What honest nodes signed beside votes: one result a round, one verdict a payload, and only of what is kept."""

    def __init__(self) -> None:
        self._said: Final[dict[tuple[str, str, object], object]] = {}

    def sent(self, site: Site, channel: Channel, data: bytes) -> None:
        """Check a frame that an honest node sends."""
        try:
            if channel is Channel.RESULT:
                vote = decode(data, ResultVote, bytes_max=RESULT_VOTE_BYTES_MAX)
                self._once(site, "result", (vote.task, vote.round), vote.result)
            elif channel is Channel.PAYLOAD:
                frame = decode_payload_frame(data)
                if isinstance(frame, Acknowledged):
                    payload, verdict = frame.acknowledgement.payload, frame.acknowledgement.verdict
                    self._once(site, "acknowledgement", payload.id, verdict)
                    if payload.id not in site.disk.payloads:
                        raise BrokenPromiseError(f"{site.name} acknowledges a payload that it does not keep")
        except CodecError as error:
            raise BrokenPromiseError(f"{site.name} sends garbage on {channel.name}: {error}") from error

    def _once(self, site: Site, kind: str, about: object, subject: object) -> None:
        if self._said.setdefault((site.name, kind, about), subject) != subject:
            raise BrokenPromiseError(f"{site.name} signs two {kind}s about {about}")


def require_bounded(sites: Iterable[Site], n: int) -> None:
    """Check that no node holds more than its bounds say (I7)."""
    for site in sites:
        core = site.core
        replica = core.driver._replica
        held = {
            "bytes of messages that wait": (core.driver._inbox.size_bytes, BYTES_MAX * n),
            "events that wait": (len(core.driver._internal), 200),
            "early messages": (len(replica._early), 8 * n),
            "answers": (len(replica._catch_up._answered), 2 * n),
            "transactions": (len(core.mempool), LIMITS.transactions_max),
            "rounds": (len(core.results._rounds), ROUNDS_REMEMBERED_MAX),
            "executions": (len(core.chain._executions), 8),
            "pulls": (len(core.exchange._pulls), 64 * n),
        }
        for what, (count, most) in held.items():
            if count > most:
                raise BrokenPromiseError(f"{site.name} holds {count} {what}, at most {most} are allowed")
