"""Keys that a rotation brings take their place when the chain seats them, whenever the process was stopped."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from genesis.keys import new_key, public_key_in, read_key, write_key
from genesis.local import LocalConsortium, LocalPlan, make_local
from genesis.presets import PRESETS
from ledger.identity import SigningKey
from ledger.validators import ValidatorSet
from node.config import Config, load_config
from node.own_keys import WrongKeyError, are_seated_next, next_path, promote, require_own_keys

NAMES = PRESETS["heart"].organisations


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalConsortium:
    """Four nodes' files."""
    plan = LocalPlan(NAMES, NAMES, ())
    return make_local(tmp_path_factory.mktemp("keys") / "consortium", plan, time_ms=1_000)


@pytest.fixture
def config(local: LocalConsortium, tmp_path: Path) -> Config:
    """The first node's settings, with keys of this test's own."""
    held = load_config(local.nodes[0].config, {}).config
    keys = msgspec.structs.replace(
        held.keys, validator=tmp_path / "validator.key", transport=tmp_path / "transport.key"
    )
    for mine, theirs in ((keys.validator, held.keys.validator), (keys.transport, held.keys.transport)):
        write_key(mine, read_key(theirs), owner="test")
    return msgspec.structs.replace(held, keys=keys)


def waiting(config: Config) -> tuple[SigningKey, SigningKey]:
    """Put new keys beside the old ones."""
    new = (new_key(), new_key())
    for path, key in zip((config.keys.validator, config.keys.transport), new, strict=True):
        write_key(next_path(path), key, owner="test")
    return new


def with_keys(validators: ValidatorSet, name: str, voting: bytes, connecting: bytes) -> ValidatorSet:
    """Return the set in which a member has these keys."""
    return ValidatorSet.of(
        tuple(
            msgspec.structs.replace(one, public_key=voting, transport_key=connecting) if one.name == name else one
            for one in validators.members
        )
    )


def test_new_keys_wait_until_the_chain_seats_them(local: LocalConsortium, config: Config) -> None:
    before = public_key_in(config.keys.validator)
    new = waiting(config)
    old_set = local.document.validators
    assert not are_seated_next(config, old_set)
    promote(config, old_set)
    assert public_key_in(config.keys.validator) == before

    seated = with_keys(old_set, config.node.name, new[0].public_key, new[1].public_key)
    assert are_seated_next(config, seated)
    promote(config, seated)

    assert public_key_in(config.keys.validator) == new[0].public_key
    assert public_key_in(config.keys.transport) == new[1].public_key
    assert public_key_in(config.keys.validator.with_name("validator.key.old")) == before
    assert not are_seated_next(config, seated)


def test_a_crash_between_the_two_keys_leaves_a_state_that_the_next_start_completes(
    local: LocalConsortium, config: Config
) -> None:
    new = waiting(config)
    seated = with_keys(local.document.validators, config.node.name, new[0].public_key, new[1].public_key)
    next_path(config.keys.validator).replace(config.keys.validator)  # and here it was killed

    assert are_seated_next(config, seated)
    promote(config, seated)

    assert public_key_in(config.keys.transport) == new[1].public_key


def test_a_rotated_nodes_keys_are_its_own_whatever_genesis_says(local: LocalConsortium, config: Config) -> None:
    new = (new_key(), new_key())
    seated = with_keys(local.document.validators, config.node.name, new[0].public_key, new[1].public_key)
    old = (read_key(config.keys.validator), read_key(config.keys.transport))

    require_own_keys(config, local.document, seated, *new)
    with pytest.raises(WrongKeyError, match="the chain names"):
        require_own_keys(config, local.document, seated, *old)


def test_unknown_keys_are_a_newcomers_and_anothers_keys_are_a_mistake(local: LocalConsortium, config: Config) -> None:
    stranger = msgspec.structs.replace(config, node=msgspec.structs.replace(config.node, name="basel"))
    require_own_keys(stranger, local.document, local.document.validators, new_key(), new_key())

    held = (read_key(config.keys.validator), read_key(config.keys.transport))
    with pytest.raises(WrongKeyError, match="a key of cleveland, one for basel is needed"):
        require_own_keys(stranger, local.document, local.document.validators, *held)
