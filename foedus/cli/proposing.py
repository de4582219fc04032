"""Putting something to the vote. One law: who proposes is told the number and the digest that the others approve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foedus.cli.output import Json, print_facts, print_json
from foedus.cli.speaking import reaching

if TYPE_CHECKING:
    from fl.membership.records import Action, ProposalState
    from foedus.client.opening import Reached
    from node.api.answers import SubmittedAnswer


def propose_action(
    url: str,
    action: Action,
    key: Path,
    passphrase_file: Path | None,
    genesis: Path | None,
    tls_ca: Path | None,
) -> tuple[SubmittedAnswer, ProposalState | None]:
    """Put an action to the vote as an officer; return what became of it."""

    async def work(reached: Reached) -> tuple[SubmittedAnswer, ProposalState | None]:
        from foedus.client.membership import propose

        return await propose(reached, action)

    return reaching(url, work, key=key, passphrase_file=passphrase_file, genesis=genesis, tls_ca=tls_ca)


def tell_proposal(
    title: str, outcome: tuple[SubmittedAnswer, ProposalState | None], url: str, *, as_json: bool
) -> None:
    """Print where a proposal stands, and what comes next."""
    answer, proposal = outcome
    facts: dict[str, Json] = {"transaction": answer.id, "height": answer.height}
    if proposal is None:
        facts["status"] = "nothing to do"
    else:
        facts |= {
            "number": proposal.number,
            "digest": proposal.digest.hex(),
            "status": proposal.status,
            "approvals": list(proposal.approvals),
        }
    if as_json:
        print_json(facts)
        return
    shown = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in facts.items()}
    if proposal is not None and proposal.status == "open":
        shown["next"] = f"foedus proposal approve {proposal.number} --url {url}, by officers of other organisations"
    print_facts(title, shown)
