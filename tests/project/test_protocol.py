"""The reader that was written from docs/protocol.md agrees with the project's code, to the last byte."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.aggregators import RuleSpec
from fl.aggregators.weights import apportion, rows_needed
from fl.optimisers import OptimiserSpec
from fl.schema import ModelSchema, TensorSpec
from fl.state import model_key
from genesis.document import GenesisDocument
from ledger.certificate import vote_message
from ledger.chain import CertifiedHeader
from ledger.codec import CodecError
from ledger.codec import decode as our_decode
from ledger.codec import encode as our_encode
from ledger.digest import digest as our_digest
from ledger.identity import verify
from ledger.light import LightProof, prove_receipt, prove_state, prove_transaction
from ledger.validators import ValidatorSet
from tests.project import protocol_arithmetic as arithmetic
from tests.project.protocol_example import text as example_text
from tests.project.protocol_execution import DifferenceError, Executed, begin, descriptor, payload_id, replay
from tests.project.protocol_reader import (
    block_id,
    digest,
    holds,
    is_included,
    is_proven,
    is_signed,
    merkle_root,
    quorum,
    set_hash,
    state_root,
    subtree,
    tree_head,
)
from tests.project.protocol_reader import vote_message as their_vote_message
from tests.project.protocol_records import Rec, RefusedError, decode, encode, make
from tests.project.test_protocol_page import RECORDS, TEXT
from tests.recorded import Recorded, document_of, key_of, member

VECTORS = Path(__file__).parents[1] / "vectors"
GENESIS_MAX = 16_777_216
BLOCK_MAX = 1_048_576


def vector(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return found


def read_document(history: Recorded) -> Rec:
    return decode("GenesisDocument", our_encode(history.document), GENESIS_MAX)


def payloads_of(history: Recorded) -> dict[bytes, bytes]:
    return {bytes(name): payload for name, payload in history.payloads.items()}


def replayed(history: Recorded) -> list[Executed]:
    blocks = [(our_encode(one.block), our_encode(one.certificate)) for one in history.blocks]
    return replay(read_document(history), blocks, payloads_of(history))


# The worked example


def example() -> dict[str, bytes]:
    (block,) = re.findall(r"```example\n(.*?)```", TEXT, re.DOTALL)
    values = re.findall(r"^(\S.*)\n((?:  [0-9a-f]+\n)+)", block, re.MULTILINE)
    return {name: bytes.fromhex(re.sub(r"\s", "", value)) for name, value in values}


EXAMPLE = example()


def test_the_example_in_the_page_is_what_the_code_makes() -> None:
    assert f"```example\n{example_text()}```" in TEXT, "python -m tests.project.protocol_example writes it anew"


def test_the_example_can_be_recomputed_from_the_page_alone() -> None:
    document = decode("GenesisDocument", EXAMPLE["genesis document"], GENESIS_MAX)
    chain_id = digest("genesis", EXAMPLE["genesis document"])
    assert chain_id == EXAMPLE["chain id"]
    assert state_root(begin(document)) == EXAMPLE["state root before block 1"]

    named = descriptor(EXAMPLE["update payload"])
    assert encode(named) == EXAMPLE["payload descriptor"]
    assert payload_id(named) == EXAMPLE["payload id"]
    assert encode(make("Acknowledgement", payload=named, verdict="ok")) == EXAMPLE["acknowledgement"]
    signed = digest("sign", b"acknowledgement", chain_id, EXAMPLE["acknowledgement"])
    assert signed == EXAMPLE["acknowledgement, what is signed"]
    key, signature = EXAMPLE["validator public key"], EXAMPLE["acknowledgement, signature"]
    assert is_signed(key, "acknowledgement", chain_id, EXAMPLE["acknowledgement"], signature)

    certificate = decode("QuorumCertificate", EXAMPLE["block 1, commit certificate"], 65_536)
    validators = document.rec("validators")
    assert their_vote_message("commit", certificate, validators, 0) == EXAMPLE["block 1, vote message"]
    assert digest("round-result", EXAMPLE["round result"]) == EXAMPLE["round result, digest"]
    proof = decode("LightProof", EXAMPLE["light proof of model 1"], 1_179_648)
    assert is_proven(chain_id, validators, proof)


def test_the_example_is_a_chain_that_replays_to_its_roots_receipts_and_model() -> None:
    document = decode("GenesisDocument", EXAMPLE["genesis document"], GENESIS_MAX)
    blocks = [
        (
            b"\x92" + EXAMPLE[f"block {height}, header"] + msgpack.packb([EXAMPLE[f"block {height}, transaction"]]),
            EXAMPLE[f"block {height}, commit certificate"],
        )
        for height in (1, 2)
    ]
    payloads = {EXAMPLE["payload id"]: EXAMPLE["update payload"]}

    for height, executed in enumerate(replay(document, blocks, payloads), start=1):
        assert encode(executed.header) == EXAMPLE[f"block {height}, header"]
        assert block_id(executed.header) == EXAMPLE[f"block {height}, id"]
        receipts = [EXAMPLE[f"block {height}, receipt {place}"] for place in range(len(executed.receipts))]
        assert [encode(receipt) for receipt in executed.receipts] == receipts
    result = decode("RoundResult", EXAMPLE["round result"], 262_144)
    assert descriptor(EXAMPLE["new model's payload"]) == result.rec("model")
    assert struct.unpack("<2i", EXAMPLE["new model's payload"][32:]) == (1_048_576, -256)


# Vectors and the chains of other tests


def test_the_published_merkle_vectors_hold() -> None:
    file = vector("merkle/rfc9162.json")
    leaves = [bytes.fromhex(leaf) for leaf in strings(file["leaves"])]
    for one in rows(file["lists"]):
        count = int(str(one["count"]))
        assert tree_head(leaves[:count]).hex() == one["mth"]
        assert merkle_root(leaves[:count]).hex() == one["root"]
    for one in rows(file["proofs"]):
        proof = decode("InclusionProof", bytes.fromhex(str(one["encoded"])), 65_536)
        assert is_included(merkle_root(leaves[: proof.number("count")]), leaves[proof.number("index")], proof)


def test_the_published_state_vectors_hold() -> None:
    state: dict[bytes, bytes] = {}
    for step in rows(vector("state_map/updates.json")["steps"]):
        changes = step["changes"]
        assert isinstance(changes, dict)
        for key, value in changes.items():
            state.pop(bytes.fromhex(key), None)
            if value is not None:
                state[bytes.fromhex(key)] = bytes.fromhex(value)
        assert state_root(state).hex() == step["root"]
        for one in rows(step["proofs"]):
            proof = decode("StateProof", bytes.fromhex(str(one["encoded"])), 65_536)
            claimed = None if one["value"] is None else bytes.fromhex(str(one["value"]))
            assert holds(state_root(state), bytes.fromhex(str(one["key"])), claimed, proof)


def test_the_published_deep_trees_hold() -> None:
    for tree in rows(vector("state_map/trees.json")["trees"]):
        leaves = [
            (bytes.fromhex(str(leaf["position"])), our_sha(bytes.fromhex(str(leaf["value"]))))
            for leaf in rows(tree["leaves"])
        ]
        assert subtree(leaves, 0).hex() == tree["root"], tree["what"]


def test_the_published_aggregations_hold() -> None:
    for one in rows(vector("aggregation/rounds.json")["rounds"]):
        case = msgspec.convert(one, Aggregated)
        rule, tensors = arithmetic.Rule(*case.spec), [arithmetic.Tensor(*each) for each in case.tensors]
        seed = bytes.fromhex(case.seed)
        outcome = arithmetic.aggregate(
            rule, tensors, case.updates, case.weights, case.clip_norm, seed=seed, root=case.root
        )
        assert (outcome.numerator, outcome.denominator) == (case.numerator, case.denominator)
        assert (outcome.retained, outcome.factors, outcome.shares) == (case.retained, case.clip_factors, case.shares)
        assert ([str(square) for square in outcome.squares], outcome.peaks) == (case.norms_squared, case.peaks)
        assert arithmetic.next_model(case.model, outcome, tensors) == (case.next_model, case.saturated)
        assert arithmetic.next_exponents(outcome.peaks, tensors) == case.next_exponents


def test_the_published_chain_replays() -> None:
    file = vector("chain/two_rounds.json")
    document = decode("GenesisDocument", bytes.fromhex(str(file["genesis_encoding"])), GENESIS_MAX)
    payloads = file["payloads"]
    assert isinstance(payloads, dict)
    blocks = [
        (bytes.fromhex(str(one["block"])), bytes.fromhex(str(one["certificate"]))) for one in rows(file["blocks"])
    ]
    held = {bytes.fromhex(name): bytes.fromhex(value) for name, value in payloads.items()}

    executed = replay(document, blocks, held)

    assert digest("genesis", encode(document)).hex() == file["chain_id"]
    assert state_root(begin(document)).hex() == file["genesis_state_root"]
    assert [block_id(one.header).hex() for one in executed] == [one["block_id"] for one in rows(file["blocks"])]


class Aggregated(msgspec.Struct):
    """One vector of an aggregation."""

    spec: tuple[str, int, tuple[str, ...], int, int, int, int, str]
    tensors: list[tuple[int, int, int]]
    weights: list[int]
    clip_norm: int
    model: list[int]
    updates: list[list[int]]
    seed: str
    root: int | None
    numerator: list[int]
    denominator: int
    retained: list[tuple[int, int]]
    clip_factors: list[tuple[int, int]]
    norms_squared: list[str]
    peaks: list[int]
    shares: list[int]
    next_model: list[int]
    saturated: int
    next_exponents: list[int]


def rows(value: object) -> list[dict[str, object]]:
    return msgspec.convert(value, list[dict[str, object]])


def strings(value: object) -> list[str]:
    return msgspec.convert(value, list[str])


def our_sha(value: bytes) -> bytes:
    return sha256(value).digest()


# Encoding: whatever one side accepts, the other accepts


@pytest.fixture(scope="module")
def history() -> Recorded:
    made = Recorded.begin()
    made.learn(rounds=2)
    return made


STATE_SAMPLES = (
    ("TaskState", b"fl/task/heart"),
    ("RoundState", b"fl/round/heart/000000000001"),
    ("RoundResult", b"fl/result/heart/000000000001"),
)


def samples(history: Recorded) -> Iterator[tuple[str, bytes]]:
    """Yield encodings of many kinds of records."""
    yield "GenesisDocument", our_encode(history.document)
    for certified, execution in zip(history.blocks, history.executions, strict=True):
        yield "CertifiedBlock", our_encode(certified)
        yield from (("Transaction", raw) for raw in certified.block.transactions)
        yield from (("Receipt", our_encode(receipt)) for receipt in execution.receipts)
        header = CertifiedHeader(certified.block.header, certified.certificate)
        yield "LightProof", our_encode(prove_state(header, execution.state, model_key("heart", 1)))
    for kind, key in STATE_SAMPLES:
        yield kind, history.state.get(key) or b""


def accepts(read: Callable[[], object], error: type[Exception]) -> bool:
    try:
        read()
    except error:
        return False
    return True


def both(kind: str, data: bytes) -> tuple[bool, bool]:
    """Tell whether the code and the reader accept `data` as a record of this kind."""
    ours = accepts(lambda: our_decode(data, RECORDS[kind], bytes_max=GENESIS_MAX), CodecError)
    return ours, accepts(lambda: decode(kind, data, GENESIS_MAX), RefusedError)


def test_what_one_side_writes_the_other_reads_and_writes_again(history: Recorded) -> None:
    for kind, data in samples(history):
        assert encode(decode(kind, data, GENESIS_MAX)) == data


def test_changed_bytes_are_accepted_by_both_or_by_neither(history: Recorded) -> None:
    chance, seen = random.Random(7), set[tuple[bool, bool]]()
    for kind, data in samples(history):
        for _ in range(60):
            changed = bytearray(data)
            place = chance.randrange(len(changed))
            match chance.randrange(4):
                case 0:
                    changed[place] ^= 1 << chance.randrange(8)
                case 1:
                    del changed[place]
                case 2:
                    changed.insert(place, chance.choice(b"\x00\xc0\xc3\xcc\xcd\xd9\xc4\x80\x90\xca\xff"))
                case _:
                    changed[place] = chance.choice(b"\x00\xc0\xc3\xcc\xcd\xd9\xc4\x80\x90\xca\xff")
            verdicts = both(kind, bytes(changed))
            seen.add(verdicts)
            assert verdicts[0] == verdicts[1], (kind, bytes(changed).hex())
    assert seen == {(True, True), (False, False)}


LEAVES = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([-25, -24, 0, 1, 7, 8, 64, 65, 1000, 1001, 2**63]),
    st.text(max_size=3),
    st.sampled_from(["a", "a\n", "A", "é", "~", "\x7f", "arc/1", "nnm/1", "median/1", "multi-krum/1", "__metadata__"]),
    st.binary(max_size=40),
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False),
)
TREES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=6), max_leaves=12)


@given(
    st.sampled_from(["TensorSpec", "ModelSchema", "RuleSpec", "Participant", "Event", "StateProof"]),
    st.one_of(TREES, st.lists(LEAVES, min_size=3, max_size=5)),
)
def test_any_tree_of_values_is_accepted_by_both_or_by_neither(kind: str, tree: object) -> None:
    ours, theirs = both(kind, msgpack.packb(tree, use_bin_type=True))
    assert ours == theirs


@pytest.mark.parametrize(
    "fields",
    [
        ["w", [2, 3], 0, -3],
        ["w", [], 0, 7],
        ["w", [], 0, 8],
        ["w", [], 0, -24],
        ["w", [], 0, -25],
        ["w", [], 65, 60],
        ["w", [0], 0, 0],
        ["w", [1] * 8, 0, 0],
        ["w", [1] * 9, 0, 0],
        ["w", [2**30 - 8], 0, 0],
        ["w", [2**30 - 7], 0, 0],
        ["", [], 0, 0],
        ["é", [], 0, 0],
        ["a\n", [], 0, 0],
        ["__metadata__", [], 0, 0],
        ["x" * 257, [], 0, 0],
    ],
)
def test_the_bounds_of_a_tensor_are_those_of_the_page(fields: list[object]) -> None:
    ours, theirs = both("TensorSpec", msgpack.packb(fields))
    assert ours == theirs


@pytest.mark.parametrize("name", ["a", "0.x_y-z", "a\n", "a" * 64, "a" * 65, "", ".a", "A", "a b", "ä"])
def test_both_sides_take_the_same_names(name: str) -> None:
    ours, theirs = both("Event", msgpack.packb([name, "", ""]))
    assert ours == theirs == bool(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name))


# Sentences and proofs


def test_the_sentence_of_a_vote_is_that_of_the_page(history: Recorded) -> None:
    certificate, validators = history.blocks[0].certificate, history.document.validators
    theirs = decode("QuorumCertificate", our_encode(certificate), 65_536)
    named_so = read_document(history).rec("validators")

    for index in range(len(validators)):
        said = vote_message(
            "prepare", certificate.height, certificate.view, validators.hash, index, certificate.block_id
        )
        assert their_vote_message("prepare", theirs, named_so, index) == said
    assert set_hash(named_so) == validators.hash


GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
SMALL_ORDER = [bytes(32), b"\1" + bytes(31), bytes.fromhex("ec" + "ff" * 30 + "7f")]


def test_signatures_have_one_form_and_keys_of_small_order_sign_nothing() -> None:
    """What libsodium refuses, and other implementations of Ed25519 may take."""
    key, chain_id = key_of("va", "validator"), our_digest("genesis", b"")
    signature = key.sign("vote", chain_id, b"sentence")
    shifted = signature[:32] + (int.from_bytes(signature[32:], "little") + GROUP_ORDER).to_bytes(32, "little")

    for check in (is_signed, verify):
        assert check(key.public_key, "vote", chain_id, b"sentence", signature)
        assert not check(key.public_key, "vote", chain_id, b"sentence", shifted)
        for small in SMALL_ORDER:
            assert not check(small, "vote", chain_id, b"sentence", b"\1" + bytes(63))
            assert not check(small, "vote", chain_id, b"sentence", small + bytes(32))


@pytest.mark.parametrize("count", range(1, 41))
def test_the_page_counts_the_same_quorum(count: int) -> None:
    validators = ValidatorSet.of(tuple(member(f"m{place:03d}") for place in range(count)))
    assert quorum(count) == validators.quorum


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 31, 64, 128])
def test_two_quorums_share_an_honest_member_and_the_honest_are_one(count: int) -> None:
    """I10: 2Q - n > f, and n - f >= Q, for every n and not only for 3f + 1."""
    validators = ValidatorSet.of(tuple(member(f"m{place:03d}") for place in range(count)))
    assert 2 * validators.quorum - count >= validators.faulty_max + 1
    assert count - validators.faulty_max >= validators.quorum


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=9), st.sampled_from([0, 200, 400, 999, 1000]))
def test_shares_are_those_of_the_page(weights: list[int], cap: int) -> None:
    """Equal weights are the case in which a tie decides."""
    for given_weights in (weights, [weights[0]] * len(weights)):
        if len(given_weights) >= rows_needed(cap):
            assert tuple(arithmetic.shares_of(given_weights, cap)) == apportion(given_weights, cap)


def test_light_proofs_of_every_kind_are_verified_by_the_reader(history: Recorded) -> None:
    certified, execution = history.blocks[1], history.executions[1]
    header = CertifiedHeader(certified.block.header, certified.certificate)
    proofs: list[LightProof] = [
        prove_transaction(certified, 1),
        prove_receipt(header, execution.receipts, len(execution.receipts) - 1),
        prove_state(header, execution.state, model_key("heart", 1)),
        prove_state(header, execution.state, b"nothing is here"),
    ]
    chain_id, validators = history.document.chain_id, read_document(history).rec("validators")

    for proof in proofs:
        read = decode("LightProof", our_encode(proof), 1_179_648)
        assert is_proven(chain_id, validators, read)
        header_ = read.rec("header")
        forged = header_.changed(time_ms=header_.number("time_ms") + 1)
        assert not is_proven(chain_id, validators, read.changed(header=forged))
        assert not is_proven(our_digest("genesis", b"another"), validators, read)


# Chains: replayed from genesis


def test_a_learning_chain_replays_with_its_results(history: Recorded) -> None:
    executed = replayed(history)

    assert [encode(one.header) for one in executed] == [our_encode(one.header) for one in history.executions]
    assert executed[-1].state == dict(history.state.items())


def test_a_changed_result_is_noticed_by_the_reader(history: Recorded) -> None:
    name, payload = next((name, held) for name, held in payloads_of(history).items() if len(held) == 32 + 2 * 8)
    flipped = payload[:-2] + bytes([payload[-2] ^ 64, payload[-1]])
    blocks = [(our_encode(one.block), our_encode(one.certificate)) for one in history.blocks]

    with pytest.raises(DifferenceError, match="result of heart"):
        replay(read_document(history), blocks, {**payloads_of(history), name: flipped})


RULES = [
    RuleSpec("weighted-mean/1", 0, weight_cap_permille=400),
    RuleSpec("weighted-mean/1", 1, ("nnm/1",)),
    RuleSpec("median/1", 1, ("arc/1",)),
    RuleSpec("trimmed-mean/1", 1, ("arc/1", "nnm/1")),
    RuleSpec("krum/1", 0),
    RuleSpec("multi-krum/1", 0, ("nnm/1",), keep=2),
    RuleSpec("geometric-median/1", 1, ("arc/1",)),
    RuleSpec("median/1", 0, ("bucketing/1",), bucket=3),
    RuleSpec("fltrust/1", 1, root="hungary"),
    RuleSpec("weighted-trimmed-mean/1", 1, ("nnm/1",), weight_cap_permille=400),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: "+".join([*rule.pre, rule.rule]))
@pytest.mark.parametrize("clip_norm_micros", [0, 700_000])
def test_rounds_on_several_grids_have_the_result_of_the_page(rule: RuleSpec, clip_norm_micros: int) -> None:
    chance = np.random.default_rng(3)
    made = Recorded(with_task(rule=rule, clip_norm_micros=clip_norm_micros))
    for _ in range(3):
        words = chance.integers(-8191, 8192, (4, 8), dtype=np.int16)
        words[:, :3] >>= 6
        trainers = [one.name for one in made.document.learning.participants][:4]
        made.block(*(made.update(name, row) for name, row in zip(trainers, words, strict=True)))
        made.block(made.claim())

    assert len(replayed(made)) == 6


OPTIMISERS = [
    OptimiserSpec("momentum/1", 700_000, 900),
    OptimiserSpec("adam/1", 10_000, 900, 990, 1_000),
    OptimiserSpec("yogi/1", 3_000, 0, 999, 10),
]


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=lambda optimiser: optimiser.optimiser)
def test_models_that_an_optimiser_moves_are_those_of_the_page(optimiser: OptimiserSpec) -> None:
    """What it remembers is read from one model's payload and written to the next one's; the third round is failed."""
    chance = np.random.default_rng(5)
    made = Recorded(with_task(optimiser=optimiser, rule=RuleSpec("trimmed-mean/1", 1)))
    trainers = [one.name for one in made.document.learning.participants][:4]
    for number in range(4):
        words = chance.integers(-8191, 8192, (4, 8), dtype=np.int16)
        made.block(*(made.update(name, row) for name, row in zip(trainers, words, strict=True)))
        made.block(after_ms=10_000) if number == 2 else made.block(made.claim())

    assert len(replayed(made)) == 8


def with_task(**changes: object) -> GenesisDocument:
    document = document_of()
    (task,) = document.learning.tasks
    schema = ModelSchema((TensorSpec("a", (3,), 2, -4), TensorSpec("b", (5,), -1, 1)))
    task = msgspec.structs.replace(task, schema=schema, **changes)
    return msgspec.structs.replace(document, learning=msgspec.structs.replace(document.learning, tasks=(task,)))
