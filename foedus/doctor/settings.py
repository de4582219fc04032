"""Settings, keys, genesis, disk: what a node needs before it starts. One law: no fault hides another."""

from __future__ import annotations

import os
import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from foedus.doctor.finding import Report
from genesis.document import GenesisDocument, InvalidGenesisError, load_document
from genesis.keys import PASSPHRASE_VARIABLE, KeyCard, KeyFileError, card_of_key
from genesis.signatures import InvalidSignaturesError, UnsignedGenesisError, load_signatures, require_signed
from ledger.application import STATE_VALUE_BYTES_MAX
from ledger.codec import decode
from ledger.reigns import VALIDATORS_KEY
from ledger.validators import ValidatorSet
from node.config import Config, InvalidConfigError, load_config
from node.space import FREE_BYTES_MIN
from node.store import Store, StoreError

CERTIFICATE_DAYS_MIN: Final = 21
_ASK_FOR_SECRET: Final = f"give it by --passphrase-file or {PASSPHRASE_VARIABLE} when the node starts"


def examine_settings(report: Report, path: Path) -> tuple[Config, GenesisDocument] | None:
    """Look at a node's files; return its settings and document when both can be read."""
    try:
        config = load_config(path).config
    except InvalidConfigError as error:
        for fault in error.faults:
            report.problem("settings", fault, f"mend {path}; docs/configuration.md names every setting")
        return None
    report.ok("settings", f"{path}, node {config.node.name}")
    document = _genesis(report, config)
    _keys(report, config, document)
    _certificate(report, config)
    _data(report, config, document)
    _disk(report, config)
    return None if document is None else (config, document)


def _genesis(report: Report, config: Config) -> GenesisDocument | None:
    path = config.genesis.path
    try:
        document = load_document(path)
    except InvalidGenesisError as error:
        for fault in error.faults:
            report.problem("genesis", fault, "ask another member for the genesis document and compare the chain id")
        return None
    report.ok("genesis", f"chain {document.chain_id.hex()}, {len(document.validators)} nodes")
    if config.genesis.signatures is not None:
        try:
            require_signed(document, load_signatures(config.genesis.signatures))
        except (InvalidSignaturesError, UnsignedGenesisError) as error:
            report.problem("genesis.signatures", str(error), "collect them with `foedus genesis verify --collect`")
        else:
            report.ok("genesis.signatures", f"all {len(document.validators)} members have signed")
    return document


def _keys(report: Report, config: Config, document: GenesisDocument | None) -> None:
    cards: dict[str, KeyCard] = {}
    for name, path in (("validator", config.keys.validator), ("transport", config.keys.transport)):
        try:
            cards[name] = card_of_key(path)
        except KeyFileError as error:
            report.problem(f"keys.{name}", str(error), f"restore {path}, or make it readable for its owner alone")
            continue
        sealed = f"sealed, {_ASK_FOR_SECRET}" if cards[name].is_sealed else "in clear, readable by its owner alone"
        report.ok(f"keys.{name}", f"{path}, {sealed}")
    if document is None:
        return
    seated = _seated(config)
    everybody = (*(() if seated is None else seated.members), *document.validators.members)
    member = next((one for one in everybody if one.name == config.node.name), None)
    if member is None:
        held = {card.public_key for card in cards.values()}
        if any(held & {one.public_key, one.transport_key} for one in everybody):
            known = ", ".join(sorted({one.name for one in everybody}))
            report.problem("node.name", f"{config.node.name} does not have these keys", f"set it to one of {known}")
        else:
            report.ok("node.name", f"{config.node.name} is no member yet: the others vote on its card")
        return
    for name, needed in (("validator", member.public_key), ("transport", member.transport_key)):
        if name in cards and cards[name].public_key != needed:
            report.problem(
                f"keys.{name}",
                f"holds {cards[name].public_key.hex()}, {needed.hex()} is known for {member.name}",
                "use the key file that was on this institution's card or came by its last rotation, or the document "
                "that was made with this key",
            )


def _seated(config: Config) -> ValidatorSet | None:
    """Return who decides the next height by this node's own chain; None when there is none yet."""
    try:
        with Store.open_readonly(config.node.data_dir) as store:
            found = dict(store.state_items(VALIDATORS_KEY, limit=1))
    except StoreError:
        return None
    value = found.get(VALIDATORS_KEY)
    return None if value is None else decode(value, ValidatorSet, bytes_max=STATE_VALUE_BYTES_MAX)


def _certificate(report: Report, config: Config) -> None:
    path = config.api.tls_certificate
    if path is None:
        report.ok("api.host", f"HTTP on {config.api.host}, for this machine alone")
        return
    from cryptography import x509

    remedy = "get a certificate from your authority, and set api.tls_certificate and api.tls_key"
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(path, config.api.tls_key)
        until = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    except (OSError, ValueError) as error:
        report.problem("api.tls_certificate", f"{path} and its key cannot be used: {error}", remedy)
        return
    days = (until - datetime.now(UTC)).days
    if days < CERTIFICATE_DAYS_MIN:
        report.problem("api.tls_certificate", f"{path} is valid for {days} more days", remedy)
    else:
        report.ok("api.tls_certificate", f"valid until {until:%Y-%m-%d}")


def _data(report: Report, config: Config, document: GenesisDocument | None) -> None:
    directory = config.node.data_dir
    nearest = next(one for one in (directory, *directory.parents) if one.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        report.problem("node.data_dir", f"{nearest} cannot be written", "give it to the user that runs the node")
        return
    if not (directory / "chain.sqlite3").exists():
        report.ok("node.data_dir", f"{directory} holds no chain yet: the node fetches it from its peers")
        return
    try:
        with Store.open_readonly(directory) as store:
            if document is not None:
                store.require_chain(document.chain_id)
            tip = store.tip()
    except StoreError as error:
        report.problem("node.data_dir", str(error), "do as it says; `foedus audit` compares every byte")
        return
    report.ok("node.data_dir", f"{directory}, height {0 if tip is None else tip.height}")


def _disk(report: Report, config: Config) -> None:
    directory = config.node.data_dir
    nearest = next(one for one in (directory, *directory.parents) if one.exists())
    usage = shutil.disk_usage(nearest)
    free, quota = usage.free, config.payloads.quota_bytes_max
    used = sum(one.stat().st_size for one in (directory / "payloads").rglob("*") if one.is_file())
    detail = f"{_bytes(free)} free, payloads take {_bytes(used)} of {_bytes(quota)}"
    if free < FREE_BYTES_MIN:
        report.problem("disk", detail, f"free some space: at least {_bytes(FREE_BYTES_MIN)}")
    elif free < quota - used:
        report.problem("disk", detail, "set payloads.quota_bytes_max to what the disk can hold, or free some space")
    else:
        report.ok("disk", detail)


def _bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
