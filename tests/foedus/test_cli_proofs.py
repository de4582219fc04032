"""Commands that vouch for what they print, in front of a node that lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

import foedus
from genesis.document import document_text
from ledger.block import Header
from ledger.certificate import Seal
from ledger.codec import encode
from ledger.identity import NO_SIGNATURE
from ledger.light import LightProof, StateFact, decode_light_proof
from tests.foedus.commands import Outcome, Shell
from tests.foedus.lying_node import LyingNode, lying
from tests.node.single_node import TRAINER_KEYS, Served, served

replace = msgspec.structs.replace


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[LyingNode]:
    """A liar in front of a node that has certified model 1: all values are a half."""
    async with served(tmp_path / "node") as node, lying(node) as opened:
        (tmp_path / "genesis.json").write_text(document_text(node.node.genesis))
        await asyncio.gather(train(node, "alpha"), train(node, "beta"))
        async with foedus.aio.connect(node.url, key=TRAINER_KEYS["alpha"], task="toy") as session:
            assert (await anext(session.rounds())).base_version == 1
        yield opened


async def train(node: Served, name: str) -> None:
    async with foedus.aio.connect(node.url, key=TRAINER_KEYS[name], task="toy") as session:
        async for current in session.rounds():
            await current.submit({key: array + np.float32(0.5) for key, array in current.model.items()}, samples=1)
            return


async def run(shell: Shell, *arguments: object) -> Outcome:
    return await asyncio.to_thread(shell, *arguments)


def trusted(proxy: LyingNode, directory: Path) -> tuple[object, ...]:
    return ("--genesis", directory / "genesis.json", "--url", proxy.url, "--json")


def model_file(directory: Path, value: float) -> Path:
    path = directory / "m.safetensors"
    save_file({"weight": np.full((2, 3), value, np.float32), "bias": np.array(value, np.float32)}, path)
    return path


def forged_state(path: str, body: bytes) -> bytes:
    """Say that the latest model is another, in a header of the liar's own under the genuine signatures."""
    if "/v1/proofs/state/" not in path:
        return body
    proof = decode_light_proof(body)
    header: Header = replace(proof.header, time_ms=proof.header.time_ms + 1)
    return encode(replace(proof, header=header))


def without_signatures(path: str, body: bytes) -> bytes:
    if "/v1/proofs/state/" not in path:
        return body
    proof = decode_light_proof(body)
    seals = tuple(Seal(seal.validator, NO_SIGNATURE) for seal in proof.certificate.seals)
    return encode(replace(proof, certificate=replace(proof.certificate, seals=seals)))


def another_value(path: str, body: bytes) -> bytes:
    if "/v1/proofs/state/" not in path:
        return body
    proof: LightProof = decode_light_proof(body)
    assert isinstance(proof.fact, StateFact)
    return encode(replace(proof, fact=replace(proof.fact, value=None)))


@pytest.mark.parametrize("lie", [forged_state, without_signatures, another_value])
async def test_no_lie_about_the_state_is_printed_as_verified(
    proxy: LyingNode, tmp_path: Path, foedus: Shell, lie: object
) -> None:
    honest = await run(foedus, "query", "task/toy", *trusted(proxy, tmp_path))
    assert honest.answer["verified"] is True
    assert callable(lie)
    proxy.change = lie
    for command in (("query", "task/toy"), ("verify", model_file(tmp_path, 0.5))):
        done = await run(foedus, *command, *trusted(proxy, tmp_path))
        assert (done.code, done.out) == (1, ""), command
        assert "proves the state wrongly" in done.err


async def test_a_node_that_sends_another_model_is_found_out(proxy: LyingNode, tmp_path: Path, foedus: Shell) -> None:
    """It agrees with the file that is asked about; the chain does not."""
    file = model_file(tmp_path, 0.25)
    assert (await run(foedus, "verify", file, *trusted(proxy, tmp_path))).code == 3
    quarters = np.full(7, 1 << 22, "<i4").tobytes()
    proxy.change = lambda path, body: body[:32] + quarters if path.endswith("/payload") else body
    done = await run(foedus, "verify", file, *trusted(proxy, tmp_path))
    assert (done.code, "is not the payload" in done.err) == (1, True)


async def test_a_chain_without_a_block_proves_nothing(tmp_path: Path, foedus: Shell) -> None:
    async with served(tmp_path / "node") as node:
        (tmp_path / "genesis.json").write_text(document_text(node.node.genesis))
        where = ("--genesis", tmp_path / "genesis.json", "--url", node.url)
        for command in (("query", "task/toy"), ("verify", model_file(tmp_path, 0.0))):
            done = await run(foedus, *command, *where)
            assert (done.code, "proof.no_block" in done.err) == (1, True)
