"""New keys beside a node's old ones. One law: they are on the disk before the chain hears of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from foedus.cli.passphrases import known_passphrase, open_key
from genesis.keys import card_of_key, new_key, write_key
from node.own_keys import next_path

if TYPE_CHECKING:
    from ledger.identity import SigningKey
    from node.config import Config


def new_keys(config: Config, passphrase_file: Path | None) -> list[SigningKey]:
    """Return the validator and transport keys that wait beside a node's own, made now unless they were before.

    They are sealed as the old ones are, with the same passphrase.
    """
    keys = []
    for path in (config.keys.validator, config.keys.transport):
        waiting = next_path(path)
        if not waiting.exists():
            card = card_of_key(path)
            passphrase = known_passphrase(path, passphrase_file) if card.is_sealed else None
            write_key(waiting, new_key(), owner=card.owner, passphrase=passphrase)
        keys.append(open_key(waiting, passphrase_file))
    return keys
