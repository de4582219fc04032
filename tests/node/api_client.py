"""Asking a served node directly, without the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from time import time_ns
from typing import TypeVar

import aiohttp
import msgspec
import numpy as np
from yarl import URL

from fl.grid import quantise_update, update_to_bytes
from fl.records import EvaluationReport, UpdateSubmission
from fl.state import present, round_of, task_of
from ledger.codec import Record, encode
from ledger.identity import SigningKey
from ledger.payload import PayloadDescriptor, describe
from ledger.transaction import sign_transaction
from node.api.answers import SubmittedAnswer
from node.api.problem import ProblemBody
from node.signed_request import signed_headers
from tests.node.contract import Contract
from tests.node.single_node import SCHEMA, TRAINER_KEYS, Served

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True)
class Reply:
    """An answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, answer_type: type[AnswerT]) -> AnswerT:
        assert self.status < 300, self.body
        return msgspec.json.decode(self.body, type=answer_type)

    @property
    def code(self) -> str:
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        problem = msgspec.json.decode(self.body, type=ProblemBody)
        assert problem.status == self.status
        return problem.code


class Asker:
    """Requests to one served node."""

    def __init__(self, served: Served, http: aiohttp.ClientSession) -> None:
        self.served = served
        self.http = http
        self.contract = Contract.of(served)

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask("GET", path, headers=headers)

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        key: SigningKey | None = None,
        time_ms: int | None = None,
    ) -> Reply:
        signed = {}
        if key is not None:
            now = time_ns() // 1_000_000 if time_ms is None else time_ms
            signed = signed_headers(key, self.served.node.chain_id, method, path, now, body)
        url = URL(self.served.url + path, encoded=True)
        merged = {**signed, **(headers or {})}
        async with self.http.request(method, url, data=BytesIO(body) if body else None, headers=merged) as response:
            reply = Reply(response.status, response.headers, await response.read())
        self.contract.require(method, path, reply.status, reply.headers["Content-Type"], reply.body)
        return reply

    async def put(self, name: str, payload: bytes) -> PayloadDescriptor:
        """Upload a whole payload as a trainer."""
        descriptor = describe(payload)
        path = payload_path(descriptor)
        reply = await self.ask("PUT", path, body=payload, key=TRAINER_KEYS[name])
        assert reply.status == 200, reply.body
        return descriptor

    async def submit(self, name: str, kind: str, said: Record, *, wait: bool = True) -> SubmittedAnswer:
        """Say something as a trainer."""
        return (await self.post(self.signed(name, kind, said), wait=wait)).read(SubmittedAnswer)

    async def post(self, raw: bytes, *, wait: bool = True) -> Reply:
        path = "/v1/transactions" + ("?wait=committed" if wait else "")
        return await self.ask("POST", path, body=raw, headers={"Content-Type": "application/msgpack"})

    def signed(self, name: str, kind: str, said: Record) -> bytes:
        node, key = self.served.node, TRAINER_KEYS[name]
        return encode(sign_transaction(key, node.chain_id, kind, node.next_free_nonce(key.public_key), said))

    async def update(self, name: str, value: float) -> SubmittedAnswer:
        """Upload and submit an update whose every coordinate is `value`."""
        node = self.served.node
        current = present(round_of(node.state(), "toy", present(task_of(node.state(), "toy"), "toy").round), "round")
        filled = {tensor.name: np.full(tensor.shape, value) for tensor in SCHEMA.tensors}
        words, saturated = quantise_update(filled, SCHEMA, current.exponents)
        descriptor = await self.put(name, name.encode().ljust(32, b".") + update_to_bytes(words))
        said = UpdateSubmission(
            task="toy",
            round=current.number,
            base_version=current.base_version,
            samples=10,
            saturated=saturated,
            metrics=(("loss", 250_000),),
            availability=await node.publish(descriptor),
        )
        return await self.submit(name, "update", said)


@asynccontextmanager
async def asking(served: Served) -> AsyncIterator[Asker]:
    """Open connections to a served node."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        yield Asker(served, http)


def evaluation(version: int = 0, auc: int = 800_000) -> EvaluationReport:
    """Return what a trainer could say at any time."""
    return EvaluationReport("toy", version, 5, (("auc", auc),))


def payload_path(descriptor: PayloadDescriptor) -> str:
    return f"/v1/payloads/{descriptor.size}-{descriptor.root.hex()}"
