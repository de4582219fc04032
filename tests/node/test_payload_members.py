"""Payloads and who is who: a guest gets none, and whoever gives two verdicts about one has lied."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ledger.evidence import VerdictWord, offences
from ledger.fields import Height
from ledger.payload import Acknowledgement, PayloadDescriptor, Verdict, sign_acknowledgement
from ledger.validators import ValidatorSet
from node.accusations import proof_of_verdicts
from node.payloads.pull import hashes_path
from node.transport import PeerRefusedError
from node.wire import Acknowledged, encode_payload_frame
from tests.node.consortium import CHAIN, signing_key, until, validators
from tests.node.depots import Depot, consortium, make_payload
from tests.node.test_payload_exchange import alone_running


async def test_two_verdicts_about_one_payload_prove_their_signer_a_liar(tmp_path: Path) -> None:
    members, alone = validators(4), Depot(0, tmp_path, validators(4))
    shown: list[tuple[int, PayloadDescriptor, VerdictWord, VerdictWord]] = []

    async with alone_running(alone):
        alone.exchange._on_two_verdicts = lambda *words: shown.append(words)  # type: ignore[misc]
        descriptor = await alone.store.add(make_payload(0.1))
        publishing = asyncio.create_task(alone.exchange.publish(descriptor))
        await until(lambda: descriptor.id in alone.exchange._publications)
        verdicts: tuple[Verdict, ...] = ("malformed", "malformed", "ok")
        for verdict in verdicts:
            acknowledgement = Acknowledgement(descriptor, verdict)
            seal = sign_acknowledgement(signing_key(2), CHAIN, members, acknowledgement)
            alone.exchange.on_frame(2, encode_payload_frame(Acknowledged(acknowledgement, seal)))
        publishing.cancel()

    words = shown[0]
    (offence,) = offences(CHAIN, members, proof_of_verdicts(Height(1), *words))
    assert (offence.kind, offence.validator) == ("conflicting-acknowledgements", 2)


async def test_a_guest_gets_no_updates_and_no_models(tmp_path: Path) -> None:
    async with consortium(3, tmp_path) as depots:
        descriptor = await depots[0].store.add(make_payload(0.1))
        known = depots[0].site.transport._validators
        fewer, guest = ValidatorSet(known.members[:2]), known.members[2]
        for depot in depots[:2]:
            depot.exchange.update_validators(fewer)
            depot.site.transport.update_validators(fewer, (guest,))

        with pytest.raises(PeerRefusedError, match="403"):
            await depots[2].site.transport.fetch(0, hashes_path(descriptor.id), bytes_max=1024)
        assert depots[0].site.transport.is_connected(2)
        assert [peer.is_guest for peer in depots[0].site.transport.peers()] == [False, True]


async def test_who_is_neither_member_nor_guest_is_cut_off_and_a_guest_can_become_a_member(tmp_path: Path) -> None:
    async with consortium(3, tmp_path) as depots:
        known, first = depots[0].site.transport._validators, depots[0].site.transport
        fewer, guest = ValidatorSet(known.members[:2]), known.members[2]
        first.update_validators(fewer, (guest,))
        assert first.is_connected(2)

        first.update_validators(fewer)
        await until(lambda: depots[0].site.links() == 1)

        first.update_validators(known)
        await until(lambda: depots[0].site.links() == 2)
