"""The keys that a node runs with. One law: the chain says which keys are a validator's, not the disk.

A rotation is prepared with new keys beside the old ones (`validator.key.next`). Once the chain seats the new ones, each
takes the place of the old (kept as `validator.key.old`), at whatever moment the process is stopped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import structlog

from genesis.document import GenesisDocument
from genesis.keys import public_key_in, read_key
from ledger.identity import SigningKey
from ledger.validators import Validator, ValidatorSet
from node.config import Config

NEXT_SUFFIX: Final = ".next"
OLD_SUFFIX: Final = ".old"

log = structlog.get_logger(__name__)


class WrongKeyError(ValueError):
    """A key file does not hold the key that this node needs."""


def read_own_keys(config: Config, passphrase: str | None) -> tuple[SigningKey, SigningKey]:
    """Return the validator's key and the transport key."""
    return (
        read_key(config.keys.validator, passphrase=passphrase),
        read_key(config.keys.transport, passphrase=passphrase),
    )


def next_path(path: Path) -> Path:
    """Where the key waits that a rotation brings."""
    return path.with_name(path.name + NEXT_SUFFIX)


def are_seated_next(config: Config, validators: ValidatorSet) -> bool:
    """Tell whether a key that waits on the disk is a seated validator's by now."""
    return any(_is_seated(path, validators) for path in (config.keys.validator, config.keys.transport))


def promote(config: Config, validators: ValidatorSet) -> None:
    """Put every waiting key that is seated in the place of the old one."""
    for path in (config.keys.validator, config.keys.transport):
        if _is_seated(path, validators):
            shutil.copy2(path, path.with_name(path.name + OLD_SUFFIX))
            next_path(path).replace(path)
            _sync(path.parent)
            log.info("key.rotated", path=str(path))


def require_own_keys(
    config: Config, document: GenesisDocument, validators: ValidatorSet, key: SigningKey, transport_key: SigningKey
) -> None:
    """Check the key files against the chain; a newcomer's keys are nobody's yet.

    Raises:
        WrongKeyError: the chain, or the genesis document, names others for this node, or these for another.
    """
    name = config.node.name
    everybody = (*validators.members, *document.validators.members)
    own = next((member for member in everybody if member.name == name), None)
    found = ((config.keys.validator, key.public_key), (config.keys.transport, transport_key.public_key))
    for path, held in found:
        owner = next((member.name for member in everybody if held in _keys((member,)) and member.name != name), None)
        if owner is not None:
            known = ", ".join(sorted({member.name for member in everybody}))
            message = (
                f"{path} holds a key of {owner}, one for {name} is needed: put it there, or set [node] name to one"
            )
            raise WrongKeyError(f"{message} of {known}")
    if own is None:
        log.warning("node.newcomer", name=name, note="looks on until the consortium has voted for it")
        return
    for (path, held), needed in zip(found, (own.public_key, own.transport_key), strict=True):
        if held != needed:
            source = "the chain" if own in validators.members else "the genesis document"
            raise WrongKeyError(f"{path} holds key {held.hex()}, {source} names {needed.hex()} for {name}")


def _is_seated(path: Path, validators: ValidatorSet) -> bool:
    waiting = next_path(path)
    return waiting.is_file() and public_key_in(waiting) in _keys(validators.members)


def _keys(members: tuple[Validator, ...]) -> set[bytes]:
    return {key for member in members for key in (member.public_key, member.transport_key)}


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
