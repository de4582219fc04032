"""A whole consortium on one machine, in one step. One law: it differs from a real one only in who holds the disk.

::

    DIR/genesis.json
    DIR/nodes/<name>/node.toml, keys/validator.key, keys/transport.key, data/
    DIR/participants/<name>.key

For containers (each a host of its own) there are also DIR/api-ca.pem and nodes/<name>/keys/api.pem, api.key.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fl.records import LearningGenesis, Participant, Role, TaskSpec
from genesis.api_certificates import api_certificates
from genesis.document import GenesisDocument, InvalidGenesisError, document_text, faults_of
from genesis.keys import KEY_FILE_MODE, new_key, write_key
from genesis.ports import LOOPBACK, free_ports
from genesis.settings import NodeSettings
from ledger.fields import NAME_PATTERN
from ledger.identity import SigningKey
from ledger.parameters import ConsensusParameters
from ledger.validators import PORT_MAX, VALIDATORS_MAX, Validator, ValidatorSet

CONFIG_NAME: Final = "node.toml"
GENESIS_NAME: Final = "genesis.json"
API_AUTHORITY_NAME: Final = "api-ca.pem"
CONTAINER_API_PORT: Final = 8001
CONTAINER_PEER_PORT: Final = 7001
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - inside a container; which ports the host publishes is settled there
OFFICER_SUFFIX: Final = "-officer"
NAME_RULE: Final = "lower-case letters, digits, dot, dash and underscore, 64 at most, a letter or digit first"


class LocalConsortiumError(ValueError):
    """The consortium cannot be made here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """What is to be made."""

    organisations: tuple[str, ...]
    """One node each."""

    trainers: tuple[str, ...]
    """Each answers for itself, as the organisation of its own name, which may run a node or not."""

    tasks: tuple[TaskSpec, ...] = ()
    base_port: int | None = None
    """The APIs listen from here on, in the order of the organisations, then the nodes; None finds free ports."""

    containers: bool = False
    """Each node runs on a host of its own that has the node's name, as services of docker compose do: all use the ports
    `CONTAINER_API_PORT` and `CONTAINER_PEER_PORT`, and their APIs speak HTTPS."""

    chain_name: str = "local"
    parameters: ConsensusParameters = field(default_factory=ConsensusParameters)


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One node's files and addresses."""

    name: str
    directory: Path
    api_port: int
    peer_port: int
    host: str = LOOPBACK
    """Where other nodes reach it."""

    @property
    def is_alone(self) -> bool:
        """Whether its host is its own, so that others ask its API over a network."""
        return self.host != LOOPBACK

    @property
    def config(self) -> Path:
        """Its settings."""
        return self.directory / CONFIG_NAME

    @property
    def data(self) -> Path:
        """Where it keeps the chain."""
        return self.directory / "data"

    @property
    def url(self) -> str:
        """Its HTTP API."""
        return f"{'https' if self.is_alone else 'http'}://{self.host}:{self.api_port}"


@dataclass(frozen=True, slots=True)
class LocalConsortium:
    """What has been made."""

    directory: Path
    document: GenesisDocument
    nodes: tuple[LocalNode, ...]
    participants: Mapping[str, Path]
    """Key file by name, officers included."""

    @property
    def genesis(self) -> Path:
        """The genesis document."""
        return self.directory / GENESIS_NAME


def make_local(directory: Path, plan: LocalPlan, *, time_ms: int) -> LocalConsortium:
    """Write keys, genesis document and settings for every node and participant.

    Each organisation also gets an officer, `<organisation>-officer`, who may propose and approve tasks.

    Args:
        directory: must not exist yet, or be empty.
        plan: what to make.
        time_ms: now; becomes the time of block 0.

    Raises:
        LocalConsortiumError: the directory is in use or cannot be written, or the ports do not fit.
        InvalidGenesisError: no chain can begin with this plan.
    """
    _require_names(plan)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LocalConsortiumError(f"{directory} is not empty: name another directory, or remove it first")
    staging = directory.with_name(f".{directory.name}.making")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700, parents=True)
        document, nodes, participants = _write(staging, directory, plan, time_ms)
        if directory.exists():
            directory.rmdir()
        staging.rename(directory)
    except OSError as error:
        raise LocalConsortiumError(f"{directory} cannot be made: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return LocalConsortium(directory, document, nodes, participants)


def _require_names(plan: LocalPlan) -> None:
    """Check the names before they become paths."""
    names = [*plan.organisations, *plan.trainers]
    faults = [f"{name!r} is no name: {NAME_RULE}" for name in names if not re.fullmatch(NAME_PATTERN, name)]
    if not 1 <= len(plan.organisations) <= VALIDATORS_MAX:
        faults.append(f"1 to {VALIDATORS_MAX} organisations are needed, got {len(plan.organisations)}")
    if faults:
        raise InvalidGenesisError("plan of the consortium", faults)


def _write(
    staging: Path, directory: Path, plan: LocalPlan, time_ms: int
) -> tuple[GenesisDocument, tuple[LocalNode, ...], dict[str, Path]]:
    nodes = _nodes(directory, plan)
    members = []
    for node in nodes:
        keys = staging / "nodes" / node.name / "keys"
        validator, transport = new_key(), new_key()
        write_key(keys / "validator.key", validator, owner=f"{node.name} (validator)")
        write_key(keys / "transport.key", transport, owner=f"{node.name} (transport)")
        (staging / "nodes" / node.name / CONFIG_NAME).write_text(_config_text(node), encoding="utf-8")
        address = f"{node.host}:{node.peer_port}"
        members.append(Validator(node.name, validator.public_key, transport.public_key, address))
    _write_api_certificates(staging, [node for node in nodes if node.is_alone], time_ms)
    participants, secrets_by_name = _participants(plan)
    for name, key in secrets_by_name.items():
        write_key(staging / "participants" / f"{name}.key", key, owner=name)
    document = GenesisDocument(
        chain_name=plan.chain_name,
        time_ms=time_ms,
        validators=ValidatorSet(tuple(sorted(members, key=lambda member: member.name))),
        parameters=plan.parameters,
        learning=LearningGenesis(participants, plan.tasks),
    )
    faults = faults_of(document)
    if faults:
        raise InvalidGenesisError("plan of the consortium", faults)
    (staging / GENESIS_NAME).write_text(document_text(document), encoding="utf-8")
    return document, nodes, {name: directory / "participants" / f"{name}.key" for name in secrets_by_name}


def _write_api_certificates(staging: Path, nodes: Sequence[LocalNode], time_ms: int) -> None:
    """Write what the nodes show their clients, and what clients need to trust it; nothing when no node needs it."""
    if not nodes:
        return
    made = api_certificates([node.host for node in nodes], time_ms=time_ms)
    (staging / API_AUTHORITY_NAME).write_bytes(made.authority)
    for node, one in zip(nodes, made.nodes, strict=True):
        keys = staging / "nodes" / node.name / "keys"
        (keys / "api.pem").write_bytes(one.certificate)
        (keys / "api.key").touch(mode=KEY_FILE_MODE, exist_ok=False)
        (keys / "api.key").write_bytes(one.key)


def _nodes(directory: Path, plan: LocalPlan) -> tuple[LocalNode, ...]:
    count = len(plan.organisations)
    if plan.containers:
        if plan.base_port is not None:
            raise LocalConsortiumError("each container has its ports to itself: leave out --base-port")
        return tuple(
            LocalNode(name, directory / "nodes" / name, CONTAINER_API_PORT, CONTAINER_PEER_PORT, name)
            for name in plan.organisations
        )
    if plan.base_port is None:
        ports = free_ports(2 * count)
    elif 1 <= plan.base_port <= PORT_MAX - 2 * count + 1:
        ports = tuple(range(plan.base_port, plan.base_port + 2 * count))
    else:
        raise LocalConsortiumError(f"{2 * count} ports from {plan.base_port} on are needed, the last one is {PORT_MAX}")
    return tuple(
        LocalNode(name, directory / "nodes" / name, ports[place], ports[count + place])
        for place, name in enumerate(plan.organisations)
    )


def _participants(plan: LocalPlan) -> tuple[tuple[Participant, ...], dict[str, SigningKey]]:
    roles: list[tuple[str, str, tuple[Role, ...]]] = [(name, name, ("trainer",)) for name in plan.trainers]
    roles += [(f"{organisation}{OFFICER_SUFFIX}", organisation, ("officer",)) for organisation in plan.organisations]
    keys = {name: new_key() for name, _, _ in roles}
    participants = tuple(
        Participant(name, organisation, keys[name].public_key, role) for name, organisation, role in sorted(roles)
    )
    return participants, keys


def _config_text(node: LocalNode) -> str:
    listen = EVERY_ADDRESS if node.is_alone else LOOPBACK
    settings = NodeSettings(
        name=node.name,
        genesis=f"../../{GENESIS_NAME}",
        validator_key="keys/validator.key",
        transport_key="keys/transport.key",
        peer=(listen, node.peer_port),
        api=(listen, node.api_port),
        tls=("keys/api.pem", "keys/api.key") if node.is_alone else None,
        open_reading=node.is_alone,  # the containers' own network; compose publishes on loopback alone
    )
    return settings.text()
