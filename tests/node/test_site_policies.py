"""Four real nodes with policies: the consortium's bind everybody, an institution's own bind its people at its door."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import msgspec
import pytest

from fl.membership.records import Approval, Proposal
from fl.membership.state import proposal_of
from fl.policies.occasions import OCCASIONS, Occasion
from fl.policies.program import compile_policy
from fl.policies.records import AdoptPolicy, Policy
from fl.state import present
from genesis.policy_files import InvalidPolicyError, templates
from ledger.codec import encode
from ledger.transaction import sign_transaction
from node.site_policies import SitePolicies, load_site_policies
from tests.node.running import NAMES, RunningConsortium, heart_task, rows, running

FIRST = NAMES[0]


async def adopt(consortium: RunningConsortium, name: str, occasion: Occasion, source: str) -> None:
    """Have a policy adopted by three officers."""
    policy = Policy(name, occasion, "", source, compile_policy(source, OCCASIONS[occasion]).digest)
    proposed = Proposal(AdoptPolicy(policy, 0))
    assert (await consortium.say(f"{FIRST}-officer", "governance.propose", proposed, through=FIRST)).accepted
    digest = present(proposal_of(consortium.nodes[FIRST].state(), 1), "the proposal").digest
    for officer in NAMES[1:3]:
        approval = Approval(1, digest)
        assert (await consortium.say(f"{officer}-officer", "governance.approve", approval, through=officer)).accepted
    await consortium.level()


async def over_http(consortium: RunningConsortium, name: str, path: str, raw: bytes | None = None) -> tuple[int, str]:
    """Ask a node's API; return status and body."""
    url = f"http://127.0.0.1:{consortium.nodes[name].api.port}{path}"
    async with aiohttp.ClientSession() as http:
        if raw is None:
            async with http.get(url) as answer:
                return answer.status, await answer.text()
        async with http.post(url, data=raw, headers={"Content-Type": "application/msgpack"}) as answer:
            return answer.status, await answer.text()


async def signed_update(consortium: RunningConsortium, name: str, samples: int) -> bytes:
    node, key = consortium.nodes[name], consortium.key(name)
    said = msgspec.structs.replace(await consortium.submission(name, rows(1)[0]), samples=samples)
    return encode(sign_transaction(key, node.chain_id, "update", node.next_free_nonce(key.public_key), said))


async def test_an_update_and_a_round_that_a_policy_denies_say_so_over_http_on_every_node(tmp_path: Path) -> None:
    async with running(tmp_path, heart_task(updates_min=3, collect_ms=2_000)) as consortium:
        await adopt(consortium, "big", "close", "round.samples >= 1000 && size(round.members) == 4")
        await consortium.fill_round(rows(2))
        await consortium.over(1)
        await consortium.level()

        reason = "policy big, clause 1: round.samples >= 1000; round.samples = 400"
        for name in NAMES:
            status, body = await over_http(consortium, name, "/v1/tasks/heart/rounds/1")
            assert (status, reason in body) == (200, True), body
        assert "round.samples" in (await over_http(consortium, NAMES[3], "/v1/policies/big"))[1]
        assert consortium.same_chain()


async def test_an_institutions_own_policy_refuses_its_people_and_nobody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        node = consortium.nodes[FIRST]
        (tmp_path / "own").mkdir()
        (tmp_path / "own" / "many.toml").write_text(templates()["minimum-samples"].read_text())
        own = load_site_policies(tmp_path / "own")
        node._site_policies = SitePolicies(own, FIRST, node.application, node.chain, lambda: 0)

        few = await signed_update(consortium, FIRST, 49)
        status, body = await over_http(consortium, FIRST, "/v1/transactions?wait=committed", few)
        assert (status, msgspec.json.decode(body)["code"]) == (422, "site_policy.denied")
        assert "policy minimum-samples, clause 1: update.samples >= 50; update.samples = 49" in body
        others = await signed_update(consortium, NAMES[1], 49)
        status, body = await over_http(consortium, FIRST, "/v1/transactions?wait=committed", others)
        assert (status, msgspec.json.decode(body)["receipt"]["code"]) == (200, "ok")
        enough = await signed_update(consortium, FIRST, 50)
        assert (await over_http(consortium, FIRST, "/v1/transactions?wait=committed", enough))[0] == 200


async def test_a_sites_policies_cannot_allow_what_the_consortiums_deny(tmp_path: Path) -> None:
    async with running(tmp_path) as consortium:
        await adopt(consortium, "many", "update", "update.samples >= 50")
        node = consortium.nodes[FIRST]
        source = "true"
        lax = Policy("many", "update", "", source, compile_policy(source, OCCASIONS["update"]).digest)
        node._site_policies = SitePolicies((lax,), FIRST, node.application, node.chain, lambda: 0)

        few = await signed_update(consortium, FIRST, 49)
        _, body = await over_http(consortium, FIRST, "/v1/transactions?wait=committed", few)

        assert msgspec.json.decode(body)["receipt"] == {
            "code": "policy.denied",
            "detail": "policy many, clause 1: update.samples >= 50; update.samples = 49",
            "events": [],
        } | {key: value for key, value in msgspec.json.decode(body)["receipt"].items() if key == "transaction"}


def test_a_directory_with_a_faulty_policy_keeps_the_node_from_starting(tmp_path: Path) -> None:
    text = templates()["minimum-samples"].read_text()
    (tmp_path / "one.toml").write_text(text)
    assert [one.name for one in load_site_policies(tmp_path)] == ["minimum-samples"]
    assert load_site_policies(None) == ()

    (tmp_path / "two.toml").write_text(text)
    with pytest.raises(InvalidPolicyError, match="another file here is called minimum-samples"):
        load_site_policies(tmp_path)
    (tmp_path / "two.toml").write_text(text.replace("samples >= 50", "weight >= 50"))
    with pytest.raises(InvalidPolicyError, match="has no field weight"):
        load_site_policies(tmp_path)
