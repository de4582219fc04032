"""`foedus query`: any fact of the state, with its proof. One law: what is printed has been checked as far as it says.

| name | fact |
|---|---|
| `validators`, `parameters`, `active-tasks` | who decides, and how; which tasks run |
| `reigns`, `set/HASH` | which set decides from which height on; one of them |
| `proposal/N`, `docket`, `suspended` | what is up for a vote; who is suspended |
| `pauses`, `task-change/TASK`, `release/TASK/N` | what was decided about learning |
| `participant/KEY`, `nonce/KEY` | who speaks under a public key (hex), and how often it has |
| `task/TASK` | where a task stands |
| `round/TASK/N`, `result/TASK/N` | a round, and its certified result |
| `update/TASK/N/PARTICIPANT` | an update that is in a round |
| `model/TASK/VERSION` | a model |
| `evaluation/TASK/VERSION/PARTICIPANT` | what a participant measured of a model |
| `policy/NAME`, `policies-in-force` | a policy of the consortium; which of them judge |
| `site/ORGANISATION` | what an institution declares of itself |
| `0x...` | any other key of the state, in hex |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Url
from foedus.cli.output import AsJson, CommandError, Json, print_facts, print_json
from foedus.cli.speaking import TlsCa, TrustedGenesis, reaching

if TYPE_CHECKING:
    from foedus.client.opening import Reached
    from ledger.codec import Record
    from ledger.light import LightProof
    from ledger.succession import SuccessionStep

KINDS = {
    "validators": (),
    "parameters": (),
    "active-tasks": (),
    "reigns": (),
    "set": ("hash",),
    "proposal": ("number",),
    "docket": (),
    "suspended": (),
    "pauses": (),
    "task-change": ("task",),
    "release": ("task", "version"),
    "participant": ("key",),
    "nonce": ("key",),
    "task": ("task",),
    "round": ("task", "number"),
    "result": ("task", "number"),
    "update": ("task", "number", "participant"),
    "model": ("task", "version"),
    "evaluation": ("task", "version", "participant"),
    "policy": ("name",),
    "policies-in-force": (),
    "site": ("organisation",),
}
"""By kind: what follows it in a name."""


@dataclass(frozen=True, slots=True)
class FactName:
    """A fact that somebody asks for."""

    key: bytes
    """Of the state."""

    record: type[Record] | None
    """What stands there; None for bytes of which only the asker knows."""


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("query")(query)


def query(
    name: Annotated[
        str, typer.Argument(help="Such as task/heart, round/heart/3, model/heart/2, validators, 0x666c2f...")
    ],
    *,
    proof: Annotated[
        Path | None, typer.Option(help="Write the light proof there: `foedus verify` checks it anywhere.")
    ] = None,
    url: Url = URL_DEFAULT,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Look up a fact of the state and check its proof: header, certificate, path."""
    from foedus.cli.proofs import prove
    from ledger.block import block_id
    from ledger.light import StateFact

    wanted = fact_named(name)

    async def work(reached: Reached) -> tuple[LightProof, tuple[SuccessionStep, ...]]:
        proven = await prove(reached, wanted.key)
        return proven, reached.trust.steps_to(proven.header.height)

    found, steps = reaching(url, work, genesis=genesis, tls_ca=tls_ca)
    assert isinstance(found.fact, StateFact), "that was checked"
    value = found.fact.value
    if proof is not None:
        _write(proof, found, steps)
    shown = None if value is None else _shown(wanted, value)
    header = found.header
    facts: dict[str, Json] = {
        "name": name,
        "key": wanted.key.hex(),
        "found": value is not None,
        "height": header.height,
        "block": block_id(header).hex(),
        "time_ms": header.time_ms,
        "verified": genesis is not None,
    }
    if as_json:
        print_json({**facts, "value": shown})
    else:
        checked = f"{len(found.certificate.seals)} validators' signatures under block {header.height}, and the path"
        if genesis is None:
            checked = f"only the path to block {header.height}: name the document with --genesis to check who signed it"
        print_facts(f"{name}:", {**_lines(shown), "checked": checked})
    if value is None:
        raise CommandError(f"the state after block {header.height} holds nothing under {name}, and that is proven")


def fact_named(name: str) -> FactName:
    """Return the fact that a person names.

    Raises:
        CommandError: nothing is named so.
    """
    from genesis.reading import nearest

    if name.startswith("0x"):
        return FactName(_hex(name[2:], "a key of the state"), None)
    kind, *rest = name.split("/")
    if kind not in KINDS:
        raise CommandError(f"no fact is named {kind}; {nearest(kind, list(KINDS))}")
    if len(rest) != len(KINDS[kind]) or not all(rest):
        raise CommandError("/".join([kind, *(part.upper() for part in KINDS[kind])]) + f" is needed, got {name}")
    return _policy_fact(kind, rest) if kind in {"policy", "policies-in-force", "site"} else _fact(kind, rest)


def _fact(kind: str, rest: list[str]) -> FactName:
    from fl import records, state

    match kind:
        case "validators" | "parameters" | "nonce" | "reigns" | "set":
            return _ledger_fact(kind, rest)
        case "proposal" | "docket" | "suspended" | "pauses" | "task-change" | "release":
            return _decision_fact(kind, rest)
        case "active-tasks":
            return FactName(state.ACTIVE_TASKS_KEY, records.ActiveTasks)
        case "participant":
            return FactName(state.participant_key(_hex(rest[0], "a public key")), records.Participant)
        case "task":
            return FactName(state.task_key(rest[0]), records.TaskState)
        case "round":
            return FactName(state.round_key(rest[0], _number(rest[1])), records.RoundState)
        case "result":
            return FactName(state.result_key(rest[0], _number(rest[1])), records.RoundResult)
        case "update":
            return FactName(state.update_key(rest[0], _number(rest[1]), rest[2]), records.UpdateState)
        case "model":
            return FactName(state.model_key(rest[0], _number(rest[1])), records.ModelState)
        case _:
            return FactName(state.evaluation_key(rest[0], _number(rest[1]), rest[2]), records.EvaluationState)


def _policy_fact(kind: str, rest: list[str]) -> FactName:
    from fl.policies import records, state

    if kind == "policy":
        return FactName(state.policy_key(rest[0]), records.PolicyState)
    if kind == "site":
        return FactName(state.site_key(rest[0]), records.SiteState)
    return FactName(state.POLICIES_KEY, records.PoliciesInForce)


def _decision_fact(kind: str, rest: list[str]) -> FactName:
    from fl.governance import records as decided
    from fl.governance import state as decisions
    from fl.membership import records, state

    match kind:
        case "proposal":
            return FactName(state.proposal_key(_number(rest[0])), records.ProposalState)
        case "docket":
            return FactName(state.DOCKET_KEY, records.Docket)
        case "suspended":
            return FactName(state.SUSPENDED_KEY, records.Suspended)
        case "pauses":
            return FactName(decisions.PAUSES_KEY, decided.Pauses)
        case "task-change":
            return FactName(decisions.change_key(rest[0]), decided.PendingChange)
        case _:
            return FactName(decisions.release_key(rest[0], _number(rest[1])), decided.Release)


def _ledger_fact(kind: str, rest: list[str]) -> FactName:
    from ledger import execution, reigns
    from ledger.parameters import ConsensusParameters
    from ledger.validators import ValidatorSet

    if kind == "nonce":
        return FactName(execution.nonce_key(_hex(rest[0], "a public key")), None)
    if kind == "reigns":
        return FactName(reigns.REIGNS_KEY, reigns.Reigns)
    if kind == "set":
        return FactName(reigns.set_key(_hex(rest[0], "a set's hash")), ValidatorSet)
    if kind == "validators":
        return FactName(reigns.VALIDATORS_KEY, ValidatorSet)
    return FactName(execution.PARAMETERS_KEY, ConsensusParameters)


def _shown(wanted: FactName, value: bytes) -> Json:
    from genesis.reading import to_json
    from ledger.application import STATE_VALUE_BYTES_MAX
    from ledger.codec import decode
    from ledger.execution import nonce_key

    if wanted.record is not None:
        return to_json(decode(value, wanted.record, bytes_max=STATE_VALUE_BYTES_MAX))
    return int.from_bytes(value, "big") if wanted.key.startswith(nonce_key(b"")) else value.hex()


def _lines(shown: Json) -> dict[str, str]:
    """Return a fact's fields as lines; what is nested, as JSON."""
    import json

    if not isinstance(shown, dict):
        return {"value": "nothing" if shown is None else str(shown)}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in shown.items()}


def _write(path: Path, proof: LightProof, steps: tuple[SuccessionStep, ...]) -> None:
    """Write a proof, with the way to it when validators have changed since genesis."""
    from ledger.codec import encode
    from ledger.succession import FollowedProof

    if path.exists():
        raise CommandError(f"{path} exists; name another file, or remove it first")
    path.write_bytes(encode(FollowedProof(steps, proof) if steps else proof))


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 12:
        return int(text)
    raise CommandError(f"a number is needed, got {text}")


def _hex(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise CommandError(f"{what} in hexadecimal is needed, got {text}") from error
