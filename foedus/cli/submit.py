"""`foedus submit`: a trained model as an update to the open round. One law: the same file again is no second update."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Node, Task, Url
from foedus.cli.output import AsJson, CommandError, print_facts, print_json
from foedus.cli.passphrases import PassphraseFile, open_key
from foedus.cli.speaking import SECONDS_MAX, Key, TlsCa, TrustedGenesis

if TYPE_CHECKING:
    from foedus.cli.model_files import Arrays
    from foedus.client.session import Round, Session, Submission


def register(root: typer.Typer) -> None:
    """Add the command of this module."""
    root.command("submit")(submit)


def submit(  # noqa: PLR0913 - options of a command
    model: Annotated[Path, typer.Argument(help="The trained model, a safetensors file.")],
    *,
    key: Key,
    samples: Annotated[int, typer.Option(help="Training examples behind it.", min=1)],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="A figure for the record; again for more.")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="Longest L2 norm of the difference; longer ones are scaled down.", min=0.0)
    ] = None,
    base: Annotated[
        int | None, typer.Option(help="Model version that you trained from; refused when the round has another.", min=0)
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a round that is open for you.", min=0)] = 10.0,
    task: Task = None,
    url: Url = URL_DEFAULT,
    passphrase_file: PassphraseFile = None,
    genesis: TrustedGenesis = None,
    tls_ca: TlsCa = None,
    as_json: AsJson = False,
) -> None:
    """Submit a trained model to the open round; its difference to the round's model is what leaves this machine."""
    from foedus.cli.model_files import load_safetensors
    from foedus.client.opening import connect, found_genesis

    arrays, metrics = load_safetensors(model), dict(_metric(text) for text in metric or [])
    name, signing = Node(url, tls_ca).task(task), open_key(key, passphrase_file)
    authority, trusted = None if tls_ca is None else str(tls_ca), genesis or found_genesis(key)

    async def go() -> tuple[int, Submission]:
        opened = connect(
            url,
            key=signing,
            task=name,
            genesis=trusted,
            timeout=SECONDS_MAX,
            tls_ca=authority,
            progress=sys.stderr.isatty() and not as_json,
        )
        async with opened as session:
            current = await _open_round(session, name, wait)
            _require_base(current, base, arrays)
            return current.number, await current.submit(arrays, samples=samples, metrics=metrics, clip=clip)

    number, done = asyncio.run(go())
    if as_json:
        print_json(
            {
                "task": name,
                "round": number,
                "transaction": done.transaction,
                "height": done.height,
                "payload": done.payload,
                "saturated": done.saturated,
                "norm": done.norm,
            }
        )
        return
    facts = {"round": f"{number} of {name}", "payload": done.payload, "norm": f"{done.norm:g}"}
    facts["block"] = "an earlier one: the round had it already" if done.height is None else str(done.height)
    if done.saturated:
        facts["cut off"] = f"{done.saturated} words at the end of the grid's range"
    print_facts("Submitted:", facts)


async def _open_round(session: Session, task: str, wait: float) -> Round:
    try:
        async with asyncio.timeout(wait):
            async for current in session.rounds():
                return current
    except TimeoutError as error:
        raise CommandError(
            f"no round of {task} was open for you within {wait:g} s: `foedus round show --task {task}` says why; "
            "--wait waits longer"
        ) from error
    raise CommandError(f"task {task} is finished")


def _require_base(current: Round, base: int | None, arrays: Arrays) -> None:
    if base is not None and base != current.base_version:
        raise CommandError(
            f"round {current.number} starts from model {current.base_version}, you trained from {base}: train again"
        )
    missing, unknown = sorted(set(current.model) - set(arrays)), sorted(set(arrays) - set(current.model))
    if missing or unknown:
        raise CommandError(
            f"exactly the model's tensors are needed; missing: {', '.join(missing) or 'none'}, "
            f"unknown: {', '.join(unknown) or 'none'}"
        )


def _metric(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        if equals and name:
            return name, float(number)
    except ValueError:
        pass
    raise CommandError(f"--metric needs NAME=NUMBER, such as auc=0.81, got {text!r}")
