"""`foedus verify`: is this file what the chain says? One law: the genesis document alone is trusted.

A light proof needs nothing else. A model file is compared, value by value, with what a quorum of validators certified.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Node, Task, Url
from foedus.cli.output import EXIT_DIFFERENT, AsJson, CommandError, Json, print_facts, print_json
from foedus.cli.speaking import TlsCa, reaching

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fl.records import ModelState, TaskState
    from foedus.cli.model_files import Arrays
    from foedus.client.opening import Reached
    from ledger.light import Fact
    from ledger.payload import PayloadDescriptor
    from ledger.succession import FollowedProof

SAFETENSORS_SUFFIX = ".safetensors"


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("verify")(verify)


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A light proof, or a model: safetensors or exact words.")
    ],
    *,
    genesis: Annotated[Path, typer.Option(envvar="FOEDUS_GENESIS", help="The genesis document that you trust.")],
    version: Annotated[
        int | None, typer.Option(help="Which version the model should be; what the file says, else the latest.", min=0)
    ] = None,
    task: Task = None,
    url: Url = URL_DEFAULT,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Check a light proof, or whether a file is the certified model of a task; exit 3 when it is not."""
    if not path.is_file():
        raise CommandError(f"{path}: no such file")
    proof = None if path.suffix == SAFETENSORS_SUFFIX else _proof_in(path)
    if proof is not None:
        facts, reason = _check_proof(proof, genesis)
    else:
        facts, reason = _check_model(path, genesis, version, task, url, tls_ca)
    if as_json:
        print_json({"file": str(path), "verified": not reason, "reason": reason, **facts})
    else:
        verdict = f"NO: {reason}" if reason else "yes"
        print_facts(f"{path}:", {"verified": verdict, **{name: str(value) for name, value in facts.items()}})
    if reason:
        sys.exit(EXIT_DIFFERENT)


def _proof_in(path: Path) -> FollowedProof | None:
    """Return the light proof in a file, with the way to it when it has one; None when it holds something else."""
    from ledger.codec import CodecError
    from ledger.light import decode_light_proof
    from ledger.succession import FOLLOWED_PROOF_BYTES_MAX, FollowedProof, decode_followed_proof

    with path.open("rb") as file:
        content = file.read(FOLLOWED_PROOF_BYTES_MAX + 1)
    try:
        return FollowedProof((), decode_light_proof(content))
    except CodecError:
        pass
    try:
        return decode_followed_proof(content)
    except CodecError:
        return None


def _check_proof(followed: FollowedProof, genesis: Path) -> tuple[dict[str, Json], str]:
    from genesis.document import load_document
    from ledger.block import block_id
    from ledger.light import LightProofError
    from ledger.succession import verify_followed_proof

    document, proof = load_document(genesis), followed.proof
    facts: dict[str, Json] = {
        "chain_id": proof.header.chain_id.hex(),
        "height": proof.header.height,
        "block": block_id(proof.header).hex(),
        "time_ms": proof.header.time_ms,
        "signatures": len(proof.certificate.seals),
        **_said(proof.fact),
    }
    try:
        verify_followed_proof(document.chain_id, document.validators, followed)
    except LightProofError as error:
        return facts, str(error)
    return facts, ""


def _said(fact: Fact) -> dict[str, Json]:
    from ledger.light import ReceiptFact, StateFact, TransactionFact
    from ledger.transaction import transaction_id

    match fact:
        case StateFact(key=key, value=value):
            return {"fact": "state", "key": key.hex(), "value": None if value is None else value.hex()}
        case TransactionFact(raw=raw):
            return {"fact": "transaction", "transaction": transaction_id(raw).hex()}
        case ReceiptFact(receipt=receipt):
            return {"fact": "receipt", "transaction": receipt.transaction.hex(), "result": receipt.code}


def _check_model(
    path: Path, genesis: Path, version: int | None, task: str | None, url: str, tls_ca: Path | None
) -> tuple[dict[str, Json], str]:
    held = _read(path)
    said = _metadata(path) if path.suffix == SAFETENSORS_SUFFIX else {}
    name = Node(url, tls_ca).task(task or said.get("task"))
    wanted = version if version is not None else int(said["version"]) if said.get("version", "").isdigit() else None

    async def work(reached: Reached) -> tuple[ModelState, str]:
        spec, model = await _model(reached, name, wanted)
        return model, await _difference(reached, held, spec, model)

    model, reason = reaching(url, work, genesis=genesis, tls_ca=tls_ca)
    facts: dict[str, Json] = {
        "task": name,
        "version": model.version,
        "round": model.round,
        "payload": None if model.payload is None else model.payload.id.hex(),
        "result": model.result.hex(),
        "height": model.height,
    }
    return facts, reason


async def _model(reached: Reached, task: str, version: int | None) -> tuple[TaskState, ModelState]:
    from fl.records import ModelState, TaskState
    from fl.state import model_key, task_key
    from foedus.cli.proofs import proven

    state = await proven(reached, task_key(task), TaskState)
    if state is None:
        raise CommandError(f"the chain has no task named {task}")
    number = state.version if version is None else version
    model = await proven(reached, model_key(task, number), ModelState)
    if model is None:
        raise CommandError(f"task {task} has no model {number}; the latest is {state.version}")
    return state, model


def _read(path: Path) -> Arrays | PayloadDescriptor:
    """Return what a model file holds: values, or the name of exact words."""
    from foedus.cli.model_files import load_safetensors
    from ledger.payload import describe

    return load_safetensors(path) if path.suffix == SAFETENSORS_SUFFIX else describe(path.read_bytes())


async def _difference(reached: Reached, held: Arrays | PayloadDescriptor, task: TaskState, model: ModelState) -> str:
    """Return how the file differs from the certified model; empty when it does not."""
    import numpy as np

    from fl.grid import model_from_bytes, model_to_float
    from fl.optimisers import model_body
    from foedus.client.transfers import download
    from ledger.payload import PayloadDescriptor

    schema, what = task.spec.schema, f"model {model.version} of {task.spec.id}"
    if isinstance(held, PayloadDescriptor):
        if model.payload is None:
            return f"{what} is all zeros and has no payload"
        return "" if held == model.payload else f"the file is payload {held.id.hex()}, {what} is another"
    words = np.zeros(schema.size, np.int32)
    if model.payload is not None:
        content = await download(
            reached.wire, f"/v1/tasks/{task.spec.id}/models/{model.version}/payload", model.payload
        )
        words = model_from_bytes(model_body(content, schema, task.spec.optimiser), schema)
    return _different_values(held, model_to_float(words, schema), what)


def _different_values(arrays: Arrays, certified: Mapping[str, NDArray[np.float32]], what: str) -> str:
    import numpy as np

    if set(arrays) != set(certified):
        return f"the file has tensors {', '.join(arrays)}; {what} has {', '.join(sorted(certified))}"
    for name, values in certified.items():
        mine = arrays[name]
        if (mine.shape, mine.dtype) != (values.shape, values.dtype):
            return f"tensor {name} has shape {mine.shape} of {mine.dtype}; {what} has {values.shape} of {values.dtype}"
        different = int(np.count_nonzero(mine != values))
        if different:
            return f"{different} of {values.size} values of tensor {name} differ from {what}"
    return ""


def _metadata(path: Path) -> dict[str, str]:
    """Return what a safetensors file says of itself; that is not trusted, only looked up."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CommandError(f"{path} is no safetensors file: {error}") from error
