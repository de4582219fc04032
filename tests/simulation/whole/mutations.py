"""Bugs of whole nodes to be found: in what lies between consensus and the world. One law: as in `..mutations`."""

from __future__ import annotations

from consensus.committee import Committee
from fl import aggregates, availability
from ledger.block import Block, CertifiedBlock
from ledger.execution import Execution
from ledger.fields import Height
from ledger.payload import Acknowledgement, sign_acknowledgement
from node.payloads.exchange import PayloadExchange
from node.proposals import Proposals
from node.sync import checking
from node.wire import Acknowledged, Announcement, Channel, encode_payload_frame
from tests.simulation.mutations import Mutation
from tests.simulation.whole import disk
from tests.simulation.whole.disk import Disk, DiskStore

_announced = PayloadExchange._on_announcement
_append = DiskStore.append


async def _no_wrong_claim(_: Proposals, __: Block) -> str:
    return ""


def _no_check(*_: object) -> None:
    """Find everything in order, or do nothing."""


def _acknowledge_first(owner: PayloadExchange, frame: Announcement) -> None:
    acknowledgement = Acknowledgement(frame.payload, "ok")
    seal = sign_acknowledgement(owner._key, owner._chain_id, owner._validators, acknowledgement)
    said = encode_payload_frame(Acknowledged(acknowledgement, seal))
    owner._transport.send(frame.seal.validator, Channel.PAYLOAD, said)
    _announced(owner, frame)


def _append_unsynced(store: DiskStore, certified: CertifiedBlock, execution: Execution) -> None:
    with Mutation("", ((Disk, "sync", _no_check),), 0, 0).applied():
        _append(store, certified, execution)


def _forget(_: DiskStore, __: Height) -> list[bytes]:
    return []


WHOLE_MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "results are not recomputed",
        ((Proposals, "wrong_claim", _no_wrong_claim), (aggregates, "verify_statements", _no_check)),
        seed=0,
        n=4,
        liar="falsifier",
    ),
    Mutation(
        "availability certificates are not checked",
        ((availability, "verify_availability", _no_check),),
        seed=0,
        n=4,
        liar="pretender",
    ),
    Mutation(
        "payloads are acknowledged before they are kept",
        ((PayloadExchange, "_on_announcement", _acknowledge_first),),
        seed=0,
        n=4,
    ),
    Mutation(
        "chunks are not checked against their root",
        ((disk, "require_root", _no_check),),
        seed=50,
        n=4,
        liar="poisoner",
    ),
    Mutation(
        "certificates of fetched blocks are not verified",
        ((Committee, "require_certificate", _no_check), (checking, "verify_certificate", _no_check)),
        seed=30,
        n=4,
        liar="poisoner",
    ),
    Mutation("nothing is synced", ((Disk, "sync", _no_check),), seed=3, n=4),
    Mutation("a block is told before it is synced", ((DiskStore, "append", _append_unsynced),), seed=3, n=4),
    Mutation("a restart forgets what was signed", ((DiskStore, "safety", _forget),), seed=15, n=4),
)
