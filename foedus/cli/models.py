"""`foedus model`: the certified models of a task. One law: an exported model is the one that the chain certifies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foedus.cli.api import URL_DEFAULT, Limit, Node, Task, Url, figures, short
from foedus.cli.output import AsJson, CommandError, print_facts, print_json, print_table

app = typer.Typer(help="Certified models.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="Version, or latest.")]


def register(root: typer.Typer) -> None:
    """Add the commands of this module."""
    root.add_typer(app, name="model")


@app.command("list")
def model_list(*, task: Task = None, url: Url = URL_DEFAULT, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List the latest models of a task."""
    node = Node(url)
    name = node.task(task)
    if as_json:
        node.print_json("tasks", name, "models", limit=limit)
        return
    from node.api.answers import ModelsAnswer

    rows = [
        (str(one.version), str(one.round), str(one.height), short(one.payload or "zeros"), short(one.result))
        for one in node.get(ModelsAnswer, "tasks", name, "models", limit=limit).items
    ]
    print_table(f"Models of {name}", ("version", "round", "block", "payload", "result"), rows)


@app.command("show")
def model_show(
    version: Version = "latest", *, task: Task = None, url: Url = URL_DEFAULT, as_json: AsJson = False
) -> None:
    """Show a model: where it comes from, and what the participants measured of it."""
    import json

    from node.api.answers import EvaluationsAnswer, ModelAnswer

    node = Node(url)
    name = node.task(task)
    path = ("tasks", name, "models", version)
    if as_json:
        evaluations = json.loads(node.body(*path, "evaluations", limit=200))
        print_json({**json.loads(node.body(*path)), "evaluations": evaluations["items"]})
        return
    one = node.get(ModelAnswer, *path)
    print_facts(
        f"Model {one.version} of {name}:",
        {
            "round": str(one.round),
            "parent": str(one.parent_version),
            "block": str(one.height),
            "payload": "all zeros" if one.payload is None else f"{one.payload} ({one.payload_size} bytes)",
            "result": one.result,
        },
    )
    rows = [
        (evaluation.participant, str(evaluation.samples), figures(evaluation.metrics))
        for evaluation in node.get(EvaluationsAnswer, *path, "evaluations", limit=200).items
    ]
    print_table("Evaluations", ("participant", "samples", "metrics"), rows)


@app.command("export")
def model_export(
    target: Annotated[Path, typer.Argument(help="File to write.")],
    version: Version = "latest",
    *,
    exact: Annotated[
        bool, typer.Option("--exact", help="The exact words (salt and int32) that the chain names, not safetensors.")
    ] = False,
    task: Task = None,
    url: Url = URL_DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Download a model as safetensors (float32), or its exact words, which are checked against the chain's digest."""
    from node.api.answers import ModelAnswer

    node = Node(url)
    name = node.task(task)
    one = node.get(ModelAnswer, "tasks", name, "models", version)
    if exact and one.payload is None:
        raise CommandError(f"model {one.version} of {name} is all zeros and has no payload; leave out --exact")
    form = "payload" if exact else "safetensors"
    size = node.download(target, "tasks", name, "models", one.version, form)
    if exact:
        _require_payload(target, one.payload)
    if as_json:
        print_json({"file": str(target), "task": name, "version": one.version, "format": form, "bytes": size})
    else:
        print_facts("Exported:", {"model": f"{one.version} of {name}", "file": str(target), "bytes": str(size)})


@app.command("import")
def model_import(
    source: Annotated[Path, typer.Argument(help="The model, a safetensors file.")],
    target: Annotated[Path, typer.Argument(help="File to write: salt and exact int32 words.")],
    *,
    task_file: Annotated[
        Path | None, typer.Option("--task-file", help="Task whose tensors say order and grids; chosen here by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the payload of an initial model, and tell what names it on the chain; no node is asked."""
    from fl.schema import ModelSchema
    from foedus.cli.model_files import initial_model, load_safetensors, schema_of
    from genesis.reading import to_json
    from genesis.task_plans import load_plan

    if target.exists():
        raise CommandError(f"{target} exists; name another file, or remove it first")
    arrays = load_safetensors(source)
    tensors = () if task_file is None else load_plan(task_file).tensors
    made = initial_model(arrays, ModelSchema(tensors) if tensors else schema_of(arrays))
    target.write_bytes(made.payload)
    named = made.descriptor
    if as_json:
        print_json(
            {
                "file": str(target),
                "payload": named.id.hex(),
                "size": named.size,
                "root": named.root.hex(),
                "tensors": to_json(made.schema.tensors),
            }
        )
        return
    shown = {"file": str(target), "payload": named.id.hex(), "bytes": str(named.size)}
    grids = {f"tensor {one.name}": f"{list(one.shape)}, exponent {one.exponent}" for one in made.schema.tensors}
    print_facts("Made a payload:", shown | grids)


def _require_payload(path: Path, identity: str | None) -> None:
    """Check a downloaded payload against its id, reading it piece by piece."""
    from ledger.merkle import MerkleAccumulator, leaf_hash
    from ledger.payload import CHUNK_BYTES, PayloadDescriptor

    tree = MerkleAccumulator()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            tree.append(leaf_hash(chunk))
    found = PayloadDescriptor(path.stat().st_size, tree.root()).id.hex()
    if found != identity:
        path.unlink()
        raise CommandError(f"the node sent payload {found}, the chain names {identity}: the file was removed")
