"""A node's settings: one TOML file and overrides from the environment. One law: read once, all faults reported at once.

A variable `FOEDUS_<SECTION>__<SETTING>` overrides the file, such as `FOEDUS_API__PORT=8001`. Relative paths count from
the directory of the file. docs/configuration.md lists every setting.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from genesis.reading import FaultsError, Json, nearest, read, to_json
from ledger.fields import NameField
from ledger.validators import address_fault

ENVIRONMENT_PREFIX: Final = "FOEDUS_"
_NO_SETTINGS: Final = frozenset({"FOEDUS_PASSPHRASE"})
"""Variables with our prefix that mean something else."""

BLOCKS_KEPT_MIN: Final = 64
"""Fewer would be gone before a node that catches up with a snapshot could fetch them."""

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
ByteCount = Annotated[int, Meta(ge=1 << 20, le=1 << 50)]
Source = Literal["default", "file", "environment"]


class InvalidConfigError(FaultsError):
    """The settings cannot start a node; `faults` names each reason."""


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections."""


class NodeSection(Section, frozen=True, kw_only=True):
    """`[node]`: which node this is."""

    name: NameField
    """The validator in the genesis document that this node speaks for."""

    data_dir: Path = Path("data")
    """Where the chain, the state and the payloads are kept; created when missing."""


class GenesisSection(Section, frozen=True, kw_only=True):
    """`[genesis]`: which chain."""

    path: Path
    """The genesis document (`genesis.json`), the same on every node."""

    signatures: Path | None = None
    """The members' signatures under it (`foedus genesis verify --collect`), checked before the node starts."""


class KeysSection(Section, frozen=True, kw_only=True):
    """`[keys]`: the node's secrets."""

    validator: Path
    """Key file that signs votes, acknowledgements and results."""

    transport: Path
    """Key file of the TLS certificate."""


class PeerSection(Section, frozen=True, kw_only=True):
    """`[peer]`: where other nodes connect to; always mutual TLS with pinned keys."""

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Port
    """Port to listen on; 0 picks a free one, of which nobody is told."""


class ApiSection(Section, frozen=True, kw_only=True):
    """`[api]`: the HTTP API for trainers and for queries."""

    host: str = "127.0.0.1"
    """Address to listen on; any other than loopback needs `tls_certificate` and `tls_key`."""

    port: Port
    """Port to listen on; 0 picks a free one, which the log tells."""

    tls_certificate: Path | None = None
    """PEM file with the certificate chain for HTTPS."""

    tls_key: Path | None = None
    """PEM file with the private key for HTTPS."""

    read: Literal["open", "token"] | None = None
    """Whether reading needs a token (`foedus token`); by default on any address but loopback."""

    @property
    def read_access(self) -> Literal["open", "token"]:
        """Whether reading needs a token, settled."""
        return self.read or ("open" if is_loopback(self.host) else "token")


class MempoolSection(Section, frozen=True, kw_only=True):
    """`[mempool]`: bounds of the transactions that wait for a block."""

    transactions_max: Count = 20_000
    """How many may wait."""

    bytes_max: ByteCount = 64 << 20
    """How many bytes may wait."""

    transactions_per_sender_max: Count = 2_000
    """How many of one sender may wait."""


class PayloadsSection(Section, frozen=True, kw_only=True):
    """`[payloads]`: updates and models on this node's disk."""

    quota_bytes_max: ByteCount = 20 << 30
    """How many bytes all payloads together may take."""


class StorageSection(Section, frozen=True, kw_only=True):
    """`[storage]`: how much of the past is kept on this node's disk."""

    blocks_kept: Annotated[int, Meta(ge=0, le=1 << 40)] = 0
    """How many of the latest blocks are kept in full, at least 64; 0 keeps all. Headers always stay."""


class SyncSection(Section, frozen=True, kw_only=True):
    """`[sync]`: how this node gets what it missed."""

    snapshot: Literal["needed", "first", "never"] = "needed"
    """Whether a certified state may take the place of blocks: when peers have pruned them, already when this node is
    new, or never."""


class AggregationSection(Section, frozen=True, kw_only=True):
    """`[aggregation]`: the computation of round results."""

    executor: Literal["threads", "processes", "ray"] = "threads"
    """Who computes: threads of the node, processes beside it, or a Ray cluster; the bits are the same."""

    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """How many threads, or processes; 0 takes one for each processor, at most 8."""

    memory_mb: Annotated[int, Meta(ge=0, le=1 << 24)] = 0
    """What a round's updates and model may take; larger rounds are read in shards. 0 takes half of what there is."""

    ray_address: Annotated[str, Meta(min_length=1, max_length=256)] = "auto"
    """Of the cluster, as Ray means it; `auto` is the one of which this machine is part."""


class LoggingSection(Section, frozen=True, kw_only=True):
    """`[logging]`: what the node says of itself, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""

    format: Literal["text", "json"] = "text"
    """`text` for people, `json` for machines: one object a line."""


class PoliciesSection(Section, frozen=True, kw_only=True):
    """`[policies]`: the institution's own, beside those of the consortium."""

    directory: Path | None = None
    """Directory of policy files (`*.toml`) that what your own people say through this node must pass too."""


class RecordingSection(Section, frozen=True, kw_only=True):
    """`[recording]`: a log of consensus events for `foedus replay`, in `recording` beneath `node.data_dir`."""

    bytes_max: Annotated[int, Meta(ge=0, le=1 << 50)] = 0
    """How many bytes are kept; 0 records nothing."""


class Config(Section, frozen=True, kw_only=True):
    """All settings of one node."""

    node: NodeSection
    genesis: GenesisSection
    keys: KeysSection
    peer: PeerSection
    peers: dict[str, str] = {}
    """`[peers]`: `name = "host:port"` where this node reaches another, when it is not what the validator set says."""

    api: ApiSection
    mempool: MempoolSection = MempoolSection()
    payloads: PayloadsSection = PayloadsSection()
    storage: StorageSection = StorageSection()
    sync: SyncSection = SyncSection()
    aggregation: AggregationSection = AggregationSection()
    policies: PoliciesSection = PoliciesSection()
    logging: LoggingSection = LoggingSection()
    recording: RecordingSection = RecordingSection()


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """Settings and where each of them was said."""

    path: Path
    config: Config
    """With absolute paths."""

    sources: dict[str, Source]
    """By setting, such as `api.port`."""


def load_config(path: Path, environment: Mapping[str, str] | None = None) -> LoadedConfig:
    """Read the settings of one node.

    Args:
        path: the TOML file.
        environment: variables that may override it; the process's own when None.

    Raises:
        InvalidConfigError: the file cannot be read, or settings are unknown, missing, malformed, contradict each other
            or name files that are not there; all faults at once.
    """
    tree = _parse(path)
    faults: list[str] = []
    sources: dict[str, Source] = dict.fromkeys(settings(), "default")
    sources |= {f"{section}.{name}": "file" for section, table in _tables(tree).items() for name in table}
    overridden = _override(tree, os.environ if environment is None else environment, faults)
    sources |= dict.fromkeys(overridden, "environment")
    config = read(tree, Config, faults)
    if config is None or faults:
        raise InvalidConfigError(str(path), faults)
    config = _resolve(config, path.absolute().parent)
    faults = _relation_faults(config)
    if faults:
        raise InvalidConfigError(str(path), faults)
    return LoadedConfig(path, config, {name: sources[name] for name in sorted(sources)})


def settings() -> tuple[str, ...]:
    """Return every setting, such as `api.port`; `peers` takes names of its own."""
    return tuple(f"{section}.{name}" for section, kind in _sections().items() for name in kind.__struct_fields__)


def effective(loaded: LoadedConfig) -> dict[str, tuple[Json, Source]]:
    """Return each setting's value and source, in order."""
    tree = to_json(loaded.config)
    assert isinstance(tree, dict), "a struct becomes an object"
    return {
        f"{section}.{name}": (value, loaded.sources.get(f"{section}.{name}", "default"))
        for section, table in _tables(tree).items()
        for name, value in table.items()
    }


def _sections() -> dict[str, type[Section]]:
    hints = typing.get_type_hints(Config, include_extras=True)
    return {name: kind for name, kind in hints.items() if isinstance(kind, type) and issubclass(kind, Section)}


def _parse(path: Path) -> dict[str, Json]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidConfigError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (ValueError, RecursionError) as error:
        raise InvalidConfigError(str(path), [f"not TOML: {error}"]) from error


def _tables(tree: Mapping[str, Json]) -> dict[str, dict[str, Json]]:
    return {name: table for name, table in tree.items() if isinstance(table, dict)}


def _override(tree: dict[str, Json], environment: Mapping[str, str], faults: list[str]) -> list[str]:
    """Put the values of variables into `tree`; return the settings they name."""
    known = {f"{ENVIRONMENT_PREFIX}{setting.replace('.', '__').upper()}": setting for setting in settings()}
    named = []
    for variable in sorted(environment):
        if not variable.startswith(ENVIRONMENT_PREFIX) or "__" not in variable or variable in _NO_SETTINGS:
            continue
        setting = known.get(variable)
        if setting is None:
            faults.append(f"environment variable {variable}: names no setting; {nearest(variable, list(known))}")
            continue
        section, _, name = setting.partition(".")
        table = tree.setdefault(section, {})
        if isinstance(table, dict):
            table[name] = _value(environment[variable], typing.get_type_hints(_sections()[section])[name])
        named.append(setting)
    return named


def _value(text: str, kind: object) -> Json:
    """Return what a variable's text says: a number where one is needed, else the text."""
    if kind is int:
        try:
            return int(text)
        except ValueError:
            return text
    return text


def _resolve(config: Config, directory: Path) -> Config:
    replace = msgspec.structs.replace

    def resolved(path: Path) -> Path:
        return Path(os.path.normpath(directory / path))

    return replace(
        config,
        node=replace(config.node, data_dir=resolved(config.node.data_dir)),
        genesis=replace(
            config.genesis,
            path=resolved(config.genesis.path),
            signatures=config.genesis.signatures and resolved(config.genesis.signatures),
        ),
        keys=replace(config.keys, validator=resolved(config.keys.validator), transport=resolved(config.keys.transport)),
        api=replace(
            config.api,
            tls_certificate=config.api.tls_certificate and resolved(config.api.tls_certificate),
            tls_key=config.api.tls_key and resolved(config.api.tls_key),
        ),
        policies=replace(config.policies, directory=config.policies.directory and resolved(config.policies.directory)),
    )


def _relation_faults(config: Config) -> list[str]:
    files = {
        "genesis.path": config.genesis.path,
        "genesis.signatures": config.genesis.signatures,
        "keys.validator": config.keys.validator,
        "keys.transport": config.keys.transport,
        "api.tls_certificate": config.api.tls_certificate,
        "api.tls_key": config.api.tls_key,
    }
    faults = [
        f"{name}: no such file: {path}" for name, path in files.items() if path is not None and not path.is_file()
    ]
    if config.policies.directory is not None and not config.policies.directory.is_dir():
        faults.append(f"policies.directory: no such directory: {config.policies.directory}")
    if config.node.data_dir.exists() and not config.node.data_dir.is_dir():
        faults.append(f"node.data_dir: needs a directory, got the file {config.node.data_dir}")
    if (config.api.tls_certificate is None) != (config.api.tls_key is None):
        faults.append("api.tls_certificate, api.tls_key: HTTPS needs both, or neither")
    if config.api.tls_key is None and not is_loopback(config.api.host):
        faults.append(
            f"api.host: {config.api.host} can be reached from other machines, which needs HTTPS: set "
            "api.tls_certificate and api.tls_key, or listen on 127.0.0.1"
        )
    if config.peer.port and (config.peer.host, config.peer.port) == (config.api.host, config.api.port):
        faults.append(f"peer.port, api.port: each needs a port of its own, got {config.api.port} twice")
    if 0 < config.storage.blocks_kept < BLOCKS_KEPT_MIN:
        faults.append(f"storage.blocks_kept: 0 or at least {BLOCKS_KEPT_MIN}, got {config.storage.blocks_kept}")
    if config.mempool.transactions_per_sender_max > config.mempool.transactions_max:
        faults.append(
            "mempool.transactions_per_sender_max: at most mempool.transactions_max "
            f"({config.mempool.transactions_max}), got {config.mempool.transactions_per_sender_max}"
        )
    if config.aggregation.executor == "ray" and find_spec("ray") is None:
        faults.append('aggregation.executor: "ray" needs Ray, which is not installed: pip install "foedus[ray]"')
    faults += [f"peers.{name}: {fault}" for name, address in config.peers.items() if (fault := address_fault(address))]
    return faults


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can connect to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
