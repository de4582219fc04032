"""Transactions that wait for a block. One law: bounded, and no sender can crowd out another.

Each sender's transactions leave in the order of their nonces; senders take turns. When the pool is full, the newest
transaction of whoever holds the most makes room for one who holds less.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from ledger.application import Application, StateReader
from ledger.codec import CodecError
from ledger.digest import Digest
from ledger.execution import next_nonce
from ledger.transaction import Transaction, decode_transaction, transaction_id, verify_transaction


class MempoolError(Exception):
    """A transaction was not queued; `code` is stable, the message says what was needed and what came."""

    def __init__(self, code: str, message: str) -> None:
        """Name the reason and say more."""
        super().__init__(message)
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class MempoolLimits:
    """Bounds of the pool."""

    transactions_max: int = 20_000
    bytes_max: int = 64 << 20
    transactions_per_sender_max: int = 2_000
    bytes_per_sender_max: int = 4 << 20


@dataclass(slots=True)
class _Sender:
    queue: dict[int, bytes] = field(default_factory=dict)
    """Raw transactions by nonce."""

    size_bytes: int = 0
    """Of all of them."""


class Mempool:
    """The pool of one node."""

    def __init__(self, application: Application, chain_id: Digest, limits: MempoolLimits) -> None:
        """Make an empty pool."""
        self._application = application
        self._chain_id = chain_id
        self._limits = limits
        self._senders: dict[bytes, _Sender] = {}
        self._ids: dict[Digest, tuple[bytes, int]] = {}
        self._turns: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many transactions wait."""
        return len(self._ids)

    @property
    def size_bytes(self) -> int:
        """Encoded size of all that waits."""
        return self._bytes

    def __contains__(self, identity: Digest) -> bool:
        """Tell whether the transaction waits here; if so its signature has been verified."""
        return identity in self._ids

    def add(self, raw: bytes, state: StateReader) -> tuple[Digest, bool]:
        """Queue a transaction.

        Returns:
            Its id, and whether it is new here.

        Raises:
            MempoolError: `transaction.malformed`, `transaction.bad_signature`, `transaction.stale_nonce`,
                `transaction.nonce_gap`, `transaction.nonce_taken`, `mempool.sender_full` or `mempool.full`.
            RefusalError: the application does not let it wait.
        """
        identity = transaction_id(raw)
        if identity in self._ids:
            return identity, False
        try:
            transaction = decode_transaction(raw)
        except CodecError as error:
            raise MempoolError("transaction.malformed", str(error)) from error
        self._require_nonce(transaction, next_nonce(state, transaction.sender))
        self._application.admit(state, transaction)
        if not verify_transaction(self._chain_id, transaction):
            message = f"not signed for chain {self._chain_id.hex()} by its sender {transaction.sender.hex()}"
            raise MempoolError("transaction.bad_signature", message)
        self._make_room(transaction.sender, len(raw))
        self._insert(transaction, raw, identity)
        return identity, True

    def select(self, state: StateReader, count_max: int, bytes_max: int) -> list[bytes]:
        """Return transactions that can stand in the next block, senders taking turns.

        Args:
            state: after the latest block; tells each sender's next nonce.
            count_max: how many at most.
            bytes_max: how many bytes together at most.
        """
        chosen: list[bytes] = []
        room = bytes_max
        nonces = {sender: next_nonce(state, sender) for sender in self._turns}
        waiting = deque(self._turns)
        while waiting and len(chosen) < count_max:
            sender = waiting.popleft()
            raw = self._senders[sender].queue.get(nonces[sender])
            if raw is None or len(raw) > room:
                continue
            chosen.append(raw)
            room -= len(raw)
            nonces[sender] += 1
            waiting.append(sender)
        self._turns.rotate(-1)
        return chosen

    def next_of(self, state: StateReader, sender: bytes) -> list[bytes]:
        """Return what one sender has waiting for the next block, in order."""
        entry = self._senders.get(sender)
        if entry is None:
            return []
        found, nonce = list[bytes](), next_nonce(state, sender)
        while nonce in entry.queue:
            found.append(entry.queue[nonce])
            nonce += 1
        return found

    def has_next(self, state: StateReader) -> bool:
        """Tell whether any transaction could stand in the next block."""
        return any(next_nonce(state, sender) in entry.queue for sender, entry in self._senders.items())

    def heads(self, state: StateReader, count_max: int) -> list[bytes]:
        """Return the transaction that each sender must come with next, as far as it waits; longest waiting first."""
        found = (entry.queue.get(next_nonce(state, sender)) for sender, entry in self._senders.items())
        return list(islice((raw for raw in found if raw is not None), count_max))

    def get(self, identity: Digest) -> bytes | None:
        """Return a transaction that waits, or None."""
        entry = self._ids.get(identity)
        return None if entry is None else self._senders[entry[0]].queue[entry[1]]

    def prune(self, state: StateReader) -> None:
        """Forget transactions whose nonce has been used."""
        for sender in list(self._senders):
            used = next_nonce(state, sender)
            for nonce in [nonce for nonce in self._senders[sender].queue if nonce < used]:
                self._remove(sender, nonce)

    def discard(self, raw: bytes) -> None:
        """Forget a transaction that turned out not to fit any block."""
        entry = self._ids.get(transaction_id(raw))
        if entry is not None:
            self._remove(*entry)

    def raws(self, count_max: int) -> list[bytes]:
        """Return what waits, each sender's in order, to say it again."""
        ordered = (raw for entry in self._senders.values() for _, raw in sorted(entry.queue.items()))
        return list(islice(ordered, count_max))

    def next_free_nonce(self, state: StateReader, sender: bytes) -> int:
        """Return the first nonce of `sender` that is neither used nor queued."""
        nonce = next_nonce(state, sender)
        entry = self._senders.get(sender)
        while entry is not None and nonce in entry.queue:
            nonce += 1
        return nonce

    def _require_nonce(self, transaction: Transaction, expected: int) -> None:
        ahead = self._limits.transactions_per_sender_max
        if transaction.nonce < expected:
            message = f"nonce {transaction.nonce} is used up, the sender's next is {expected}"
            raise MempoolError("transaction.stale_nonce", message)
        if transaction.nonce >= expected + ahead:
            message = f"nonce {transaction.nonce} is too far ahead: needed {expected} to {expected + ahead - 1}"
            raise MempoolError("transaction.nonce_gap", message)
        entry = self._senders.get(transaction.sender)
        if entry is not None and transaction.nonce in entry.queue:
            message = f"another transaction with nonce {transaction.nonce} waits already: use the next free nonce"
            raise MempoolError("transaction.nonce_taken", message)

    def _make_room(self, sender: bytes, size: int) -> None:
        entry, limits = self._senders.get(sender, _Sender()), self._limits
        held, held_bytes = len(entry.queue), entry.size_bytes
        if held >= limits.transactions_per_sender_max or held_bytes + size > limits.bytes_per_sender_max:
            message = f"{held} transactions of {held_bytes} bytes of this sender wait already: wait for a block"
            raise MempoolError("mempool.sender_full", message)
        while (crowded := len(self._ids) >= limits.transactions_max) or self._bytes + size > limits.bytes_max:
            largest, weight = self._largest(by_count=crowded)
            if weight <= (held + 1 if crowded else held_bytes + size):
                message = f"{len(self._ids)} transactions of {self._bytes} bytes wait: try again after the next block"
                raise MempoolError("mempool.full", message)
            self._remove(largest, max(self._senders[largest].queue))

    def _largest(self, *, by_count: bool) -> tuple[bytes, int]:
        """Return who holds the most, and how much."""
        weights = {key: len(one.queue) if by_count else one.size_bytes for key, one in self._senders.items()}
        largest = max(weights, key=lambda key: weights[key], default=b"")
        return largest, weights.get(largest, 0)

    def _insert(self, transaction: Transaction, raw: bytes, identity: Digest) -> None:
        if transaction.sender not in self._senders:
            self._senders[transaction.sender] = _Sender()
            self._turns.append(transaction.sender)
        self._senders[transaction.sender].queue[transaction.nonce] = raw
        self._senders[transaction.sender].size_bytes += len(raw)
        self._ids[identity] = (transaction.sender, transaction.nonce)
        self._bytes += len(raw)

    def _remove(self, sender: bytes, nonce: int) -> None:
        entry = self._senders[sender]
        raw = entry.queue.pop(nonce)
        entry.size_bytes -= len(raw)
        del self._ids[transaction_id(raw)]
        self._bytes -= len(raw)
        if not entry.queue:
            del self._senders[sender]
            self._turns.remove(sender)
