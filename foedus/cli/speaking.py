"""Saying something to the chain. One law: a command ends when the chain has answered.

Commands that only ask use `foedus.cli.api`; those that sign, upload or verify use the SDK's parts through this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from foedus.cli.passphrases import open_key

if TYPE_CHECKING:
    from foedus.client.opening import Reached

ResultT = TypeVar("ResultT")

SECONDS_MAX = 60.0
Key = Annotated[Path, typer.Option("--key", "-k", envvar="FOEDUS_KEY", help="Your key file.")]
TrustedGenesis = Annotated[
    Path | None,
    typer.Option(
        "--genesis", envvar="FOEDUS_GENESIS", help="The genesis document: then nothing the node says is just believed."
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option("--tls-ca", envvar="FOEDUS_TLS_CA", help="PEM file with the authority of an https node."),
]


def reaching(
    url: str,
    work: Callable[[Reached], Awaitable[ResultT]],
    *,
    key: Path | None = None,
    passphrase_file: Path | None = None,
    genesis: Path | None = None,
    tls_ca: Path | None = None,
) -> ResultT:
    """Reach a node, do some work with it and return what comes of it.

    Args:
        url: of the node's API.
        work: what to do.
        key: file of the key that signs; None to only read.
        passphrase_file: opens it.
        genesis: the trusted document; None looks beside the key file, and believes the node when there is none.
        tls_ca: authority of an https node.

    Raises:
        ClientError: the node does not answer, says no or lies; the message says which.
    """
    from foedus.client.opening import found_genesis, reach
    from genesis.document import load_document

    signing = None if key is None else open_key(key, passphrase_file)
    trusted = genesis or found_genesis(key)
    document = None if trusted is None else load_document(trusted)
    authority = None if tls_ca is None else str(tls_ca)

    async def go() -> ResultT:
        async with reach(url, key=signing, genesis=document, timeout=SECONDS_MAX, tls_ca=authority) as reached:
            return await work(reached)

    return asyncio.run(go())
