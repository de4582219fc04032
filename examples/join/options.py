"""What a trainer's script is told on its command line; the same for all three."""

import argparse
from pathlib import Path


class Options(argparse.Namespace):
    """A trainer's place in the consortium."""

    url: str
    key: Path
    task: str
    hospital: int
    initial: Path | None


def options(program: str) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.join.{program}")
    parser.add_argument("--url", default="http://127.0.0.1:8001", help="the HTTP API of your institution's node")
    parser.add_argument("--key", type=Path, help="file with the participant's signing key")
    parser.add_argument("--task", default="join", help="name of the task")
    parser.add_argument("--hospital", type=int, default=1, help="whose patients to train on")
    parser.add_argument("--initial", type=Path, help="write the model that round 1 starts from, and end")
    return parser.parse_args(namespace=Options())
