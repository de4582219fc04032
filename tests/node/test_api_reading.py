"""Reading the chain over HTTP: every fact is there, in pages, with its proof."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load

from fl.grid import model_from_bytes, model_to_float
from fl.records import TaskState
from fl.state import task_key, update_of
from ledger.block import CertifiedBlock
from ledger.certificate import COMMIT, verify_certificate
from ledger.chain import CertifiedHeader
from ledger.codec import decode
from ledger.digest import Digest
from ledger.light import (
    ReceiptFact,
    StateFact,
    TransactionFact,
    decode_light_proof,
    verify_certified_header,
    verify_light_proof,
)
from ledger.merkle import InclusionProof, verify_inclusion
from ledger.payload import SALT_BYTES, describe
from ledger.transaction import transaction_id
from node.api.answers import (
    BlockAnswer,
    BlocksAnswer,
    EvaluationsAnswer,
    ModelAnswer,
    ModelsAnswer,
    NonceAnswer,
    ParticipantsAnswer,
    ProofAnswer,
    RoundAnswer,
    RoundsAnswer,
    TransactionAnswer,
    TransactionsAnswer,
    UpdatesAnswer,
)
from node.api.headers import CertifiedHeaderAnswer, HeadersAnswer
from node.api.membership_answers import (
    ChangesAnswer,
    OffencesAnswer,
    ProposalsAnswer,
    ReignsAnswer,
    ValidatorsAnswer,
)
from node.api.mempool import MempoolAnswer
from node.api.task_answers import TaskAnswer, TasksAnswer
from node.view import NodeStatus
from tests.node.api_client import Asker, asking, evaluation, payload_path
from tests.node.single_node import SCHEMA, TRAINER_KEYS, served

MESSAGE_PACK = {"Accept": "application/msgpack"}


@pytest.fixture
async def asker(tmp_path: Path) -> AsyncIterator[Asker]:
    async with served(tmp_path) as node, asking(node) as opened:
        yield opened


@pytest.fixture
async def trained(asker: Asker) -> Asker:
    """One certified round of two updates, one evaluation."""
    await asker.update("alpha", 0.25)
    await asker.update("beta", 0.75)
    await asker.submit("alpha", "evaluation", evaluation(version=1))
    return asker


async def test_status_says_where_the_chain_is(trained: Asker) -> None:
    status = (await trained.get("/v1/status")).read(NodeStatus)

    chain = trained.served.node.chain
    assert (status.height, status.tip_id) == (chain.height, chain.tip_id.hex())
    assert status.chain_id == trained.served.node.chain_id.hex()


async def test_validators_come_with_their_quorum(asker: Asker) -> None:
    answer = (await asker.get("/v1/validators")).read(ValidatorsAnswer)

    assert (answer.height, answer.quorum, answer.faulty_max) == (1, 3, 1)
    assert [item.name for item in answer.items] == ["alpha", "beta", "delta", "gamma"]


async def test_blocks_page_from_the_newest_to_the_first(trained: Asker) -> None:
    first = (await trained.get("/v1/blocks?limit=2")).read(BlocksAnswer)
    second = (await trained.get(f"/v1/blocks?limit=2&before={first.next}")).read(BlocksAnswer)

    assert [item.height for item in first.items + second.items] == [4, 3, 2, 1]
    assert second.next is None


async def test_a_block_is_the_same_by_height_by_id_and_as_bytes(trained: Asker) -> None:
    by_height = (await trained.get("/v1/blocks/2")).read(BlockAnswer)
    by_id = (await trained.get(f"/v1/blocks/{by_height.id}")).read(BlockAnswer)
    raw = await trained.get("/v1/blocks/2", MESSAGE_PACK)

    assert by_id == by_height
    certified = decode(raw.body, CertifiedBlock, bytes_max=1 << 20)
    assert certified.block.id.hex() == by_height.id
    node = trained.served.node
    verify_certificate(node.chain_id, COMMIT, node.validators(), certified.certificate)
    assert [transaction_id(one).hex() for one in certified.block.transactions] == list(by_height.transactions)


async def test_a_transaction_comes_with_its_receipt_and_an_inclusion_proof_that_holds(trained: Asker) -> None:
    listed = (await trained.get("/v1/transactions?kind=update")).read(TransactionsAnswer).items
    one = (await trained.get(f"/v1/transactions/{listed[0].id}")).read(TransactionAnswer)
    block = (await trained.get(f"/v1/blocks/{one.height}")).read(BlockAnswer)

    path = tuple(Digest(bytes.fromhex(step)) for step in one.inclusion.path)
    proof = InclusionProof(one.inclusion.index, one.inclusion.count, path)
    assert verify_inclusion(bytes.fromhex(block.header.transactions_root), bytes.fromhex(one.raw), proof)
    assert one.receipt.code == "ok"
    assert one.sender == TRAINER_KEYS["beta"].public_key.hex()


async def test_transactions_filter_by_kind_and_sender_and_page(trained: Asker) -> None:
    everything = (await trained.get("/v1/transactions")).read(TransactionsAnswer).items
    sender = TRAINER_KEYS["alpha"].public_key.hex()
    mine = (await trained.get(f"/v1/transactions?sender={sender}")).read(TransactionsAnswer).items
    page = (await trained.get("/v1/transactions?limit=3")).read(TransactionsAnswer)
    rest = (await trained.get(f"/v1/transactions?before={page.next}")).read(TransactionsAnswer)

    assert [one.kind for one in everything] == ["evaluation", "aggregate", "update", "update"]
    assert [one.kind for one in mine] == ["evaluation", "update"]
    assert page.items + rest.items == everything


async def test_nonces_count_what_the_chain_has_and_what_waits(trained: Asker) -> None:
    trained.served.node.holding = True
    await trained.submit("alpha", "evaluation", evaluation(), wait=False)

    answer = (await trained.get(f"/v1/accounts/{TRAINER_KEYS['alpha'].public_key.hex()}/nonce")).read(NonceAnswer)

    assert (answer.committed, answer.next) == (2, 3)


async def test_participants_page_by_key(asker: Asker) -> None:
    first = (await asker.get("/v1/participants?limit=3")).read(ParticipantsAnswer)
    rest = (await asker.get(f"/v1/participants?after={first.next}")).read(ParticipantsAnswer)

    assert {item.name for item in first.items + rest.items} == {"alpha", "beta", "gamma", "delta"}
    assert len(rest.items) == 1


async def test_a_task_says_its_rule_and_its_progress(trained: Asker) -> None:
    listed = (await trained.get("/v1/tasks")).read(TasksAnswer)
    one = (await trained.get("/v1/tasks/toy")).read(TaskAnswer)

    assert listed.items == (one,)
    assert (one.round, one.version, one.certified, one.parameters) == (2, 1, 1, 7)
    assert one.rule.rule == "weighted-mean/1"


async def test_rounds_are_listed_newest_first(trained: Asker) -> None:
    answer = (await trained.get("/v1/tasks/toy/rounds")).read(RoundsAnswer)
    latest = (await trained.get("/v1/tasks/toy/rounds/latest")).read(RoundAnswer)

    assert [(one.number, one.status, one.version) for one in answer.items] == [(2, "open", 0), (1, "certified", 1)]
    assert answer.items[0] == latest


async def test_waiting_for_a_round_ends_when_it_opens_or_the_time_is_over(asker: Asker) -> None:
    early = (await asker.get("/v1/tasks/toy/rounds?wait_after=1&timeout=0")).read(RoundsAnswer)
    assert early.items[0].number == 1
    waiting = asker.get("/v1/tasks/toy/rounds?wait_after=1&timeout=15")

    async def train() -> None:
        await asker.update("alpha", 0.25)
        await asker.update("beta", 0.25)

    reply, _ = await asyncio.gather(waiting, train())
    assert reply.read(RoundsAnswer).items[0].number == 2


async def test_updates_say_who_contributed_and_what_the_rule_made_of_it(trained: Asker) -> None:
    answer = (await trained.get("/v1/tasks/toy/rounds/1/updates")).read(UpdatesAnswer)

    assert [one.participant for one in answer.items] == ["alpha", "beta"]
    assert answer.items[0].metrics == {"loss": 0.25}
    assert answer.items[0].weight == 1 << 14
    assert answer.items[0].left_out is False


async def test_an_updates_words_are_never_served(trained: Asker) -> None:
    update = (await trained.get("/v1/tasks/toy/rounds/1/updates")).read(UpdatesAnswer).items[0]
    node = trained.served.node
    state = update_of(node.state(), "toy", 1, "alpha")
    assert state is not None
    assert state.payload.id.hex() == update.payload
    path = payload_path(state.payload)

    reply = await trained.ask("GET", path, key=TRAINER_KEYS["beta"])

    assert msgspec.json.decode(reply.body)["stored"] is True
    assert len(reply.body) < 400
    for other in (path + "/payload", "/v1/tasks/toy/rounds/1/updates/alpha/payload"):
        assert (await trained.get(other)).code == "route.unknown"


async def test_models_are_versions_with_their_lineage(trained: Asker) -> None:
    answer = (await trained.get("/v1/tasks/toy/models")).read(ModelsAnswer)

    assert [(one.version, one.parent_version, one.payload is None) for one in answer.items] == [
        (1, 0, False),
        (0, 0, True),
    ]


async def test_the_exact_model_hashes_to_what_stands_in_the_chain(trained: Asker) -> None:
    model = (await trained.get("/v1/tasks/toy/models/1")).read(ModelAnswer)
    payload = (await trained.get("/v1/tasks/toy/models/1/payload")).body

    assert describe(payload).id.hex() == model.payload
    values = model_to_float(model_from_bytes(payload[SALT_BYTES:], SCHEMA), SCHEMA)
    assert np.array_equal(values["weight"], np.full((2, 3), 0.5))


async def test_safetensors_hold_the_same_values(trained: Asker) -> None:
    payload = (await trained.get("/v1/tasks/toy/models/1/payload")).body
    exact = model_to_float(model_from_bytes(payload[SALT_BYTES:], SCHEMA), SCHEMA)

    tensors = load((await trained.get("/v1/tasks/toy/models/1/safetensors")).body)

    assert {name: array.shape for name, array in tensors.items()} == {"weight": (2, 3), "bias": ()}
    for name, array in exact.items():
        assert np.array_equal(array, tensors[name])


async def test_the_first_model_is_all_zeros_and_has_no_payload(asker: Asker) -> None:
    assert (await asker.get("/v1/tasks/toy/models/0/payload")).code == "model.all_zeros"
    tensors = load((await asker.get("/v1/tasks/toy/models/latest/safetensors")).body)
    assert not np.any(tensors["weight"])


@pytest.mark.parametrize("file", ["payload", "safetensors"])
async def test_every_range_of_a_model_file_is_that_part_of_the_whole(trained: Asker, file: str) -> None:
    path = f"/v1/tasks/toy/models/1/{file}"
    whole = (await trained.get(path)).body
    for first in range(0, len(whole), 13):
        for last in (first, first + 4, first + 17, len(whole) + 99):
            reply = await trained.get(path, {"Range": f"bytes={first}-{last}"})
            assert reply.status == 206
            assert reply.body == whole[first : last + 1]
            assert reply.headers["Content-Range"] == f"bytes {first}-{min(last, len(whole) - 1)}/{len(whole)}"
    assert (await trained.get(path, {"Range": "bytes=-5"})).body == whole[-5:]
    assert (await trained.get(path, {"Range": f"bytes={len(whole)}-"})).code == "range.unsatisfiable"
    assert (await trained.get(path, {"Range": "bytes=5-1"})).code == "range.unsatisfiable"


async def test_evaluations_are_what_participants_attested(trained: Asker) -> None:
    answer = (await trained.get("/v1/tasks/toy/models/1/evaluations")).read(EvaluationsAnswer)

    assert [(one.participant, one.metrics, one.samples) for one in answer.items] == [("alpha", {"auc": 0.8}, 5)]


async def test_a_state_proof_convinces_whoever_knows_the_validators(trained: Asker) -> None:
    node, key = trained.served.node, task_key("toy")
    answer = (await trained.get(f"/v1/proofs/state/{key.hex()}")).read(ProofAnswer)
    raw = await trained.get(f"/v1/proofs/state/{key.hex()}", MESSAGE_PACK)

    assert raw.body.hex() == answer.proof
    fact = verify_light_proof(node.chain_id, node.validators(), decode_light_proof(raw.body))
    assert isinstance(fact, StateFact)
    assert fact.value is not None
    assert decode(fact.value, TaskState, bytes_max=1 << 20).round == 2


async def test_absence_is_proven_too(trained: Asker) -> None:
    node = trained.served.node
    answer = (await trained.get("/v1/proofs/state/beef")).read(ProofAnswer)

    assert (answer.found, answer.value) == (False, None)
    fact = verify_light_proof(node.chain_id, node.validators(), decode_light_proof(bytes.fromhex(answer.proof)))
    assert isinstance(fact, StateFact)
    assert fact.value is None


async def test_transactions_and_receipts_are_proven(trained: Asker) -> None:
    node = trained.served.node
    identity = (await trained.get("/v1/transactions?kind=update&limit=1")).read(TransactionsAnswer).items[0].id

    kinds = {}
    for what in ("transactions", "receipts"):
        raw = (await trained.get(f"/v1/proofs/{what}/{identity}", MESSAGE_PACK)).body
        kinds[what] = verify_light_proof(node.chain_id, node.validators(), decode_light_proof(raw))

    assert isinstance(kinds["transactions"], TransactionFact)
    assert transaction_id(kinds["transactions"].raw).hex() == identity
    assert isinstance(kinds["receipts"], ReceiptFact)
    assert kinds["receipts"].receipt.code == "ok"


async def test_before_the_first_block_state_is_read_but_not_proven(asker: Asker) -> None:
    key = task_key("toy").hex()

    assert (await asker.get(f"/v1/proofs/state/{key}")).code == "proof.no_block"
    assert decode((await asker.get(f"/v1/state/{key}")).body, TaskState, bytes_max=1 << 20).round == 1
    assert (await asker.get("/v1/state/beef")).code == "state.absent"


async def test_headers_page_and_one_comes_with_the_certificate_that_a_light_client_checks(trained: Asker) -> None:
    listed = (await trained.get("/v1/headers?limit=3")).read(HeadersAnswer)
    one = (await trained.get("/v1/headers/latest")).read(CertifiedHeaderAnswer)
    raw = await trained.get(f"/v1/headers/{one.id}", MESSAGE_PACK)

    assert [item.height for item in listed.items] == [4, 3, 2]
    assert (listed.next, listed.items[0]) == (2, one.header)
    certified = decode(raw.body, CertifiedHeader, bytes_max=1 << 16)
    verify_certified_header(trained.served.node.chain_id, trained.served.node.validators(), certified)
    assert len(raw.body) < 1_200


async def test_the_mempool_shows_what_waits(asker: Asker) -> None:
    asker.served.node.holding = True
    raw = asker.signed("alpha", "evaluation", evaluation())
    await asker.post(raw, wait=False)

    answer = (await asker.get("/v1/mempool")).read(MempoolAnswer)

    assert (answer.transactions, answer.bytes) == (1, len(raw))
    assert (answer.items[0].id, answer.items[0].kind) == (transaction_id(raw).hex(), "evaluation")


async def test_the_set_of_every_height_can_be_asked_for_and_no_other(asker: Asker) -> None:
    now = (await asker.get("/v1/validators")).read(ValidatorsAnswer)
    first = (await asker.get("/v1/validators?height=1")).read(ValidatorsAnswer)
    assert (first.height, first.items) == (1, now.items)
    assert (await asker.get(f"/v1/validators?height={now.height + 1}")).status == 404

    changes = (await asker.get("/v1/validators/changes")).read(ChangesAnswer)
    assert (changes.height, changes.coming) == (now.height + 1, now.items)
    assert (changes.waiting, changes.suspended) == ((), ())
    reigns = (await asker.get("/v1/validators/reigns")).read(ReignsAnswer)
    assert [(one.first, one.validators_hash) for one in reigns.items] == [(1, now.validators_hash)]


async def test_where_nothing_was_voted_on_and_nobody_lied_the_lists_are_empty(asker: Asker) -> None:
    assert (await asker.get("/v1/proposals")).read(ProposalsAnswer).items == ()
    assert (await asker.get("/v1/evidence")).read(OffencesAnswer).items == ()
    assert (await asker.get("/v1/proposals/1")).status == 404
