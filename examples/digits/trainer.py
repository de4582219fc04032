"""The script a participant runs: joins the round that is open, trains on its own images, submits. Only the SDK is used.

python -m examples.digits.trainer --participant 3 --url http://127.0.0.1:8003 --key participant-3.key
"""

import argparse
from contextlib import suppress
from pathlib import Path

import foedus
from examples.attack import ATTACKS
from examples.digits.data import PARTICIPANTS, load_split
from examples.digits.model import accuracy, train


def main() -> None:
    """Take part in every round of the task until it ends."""
    options = _options()
    split = load_split()
    own = split.participants[options.participant]
    with foedus.connect(options.url, key=options.key, task=options.task, genesis=options.genesis) as session:
        for open_round in session.rounds():
            new = train(open_round.model, own)
            if options.malicious_from and open_round.number >= options.malicious_from:
                new = ATTACKS[options.attack](open_round.model, new)
            with suppress(foedus.RoundOverError):  # the others were faster; the next round begins without us
                open_round.submit(new, samples=len(own), metrics={"accuracy": accuracy(open_round.model, split.test)})


class _Options(argparse.Namespace):
    participant: int
    url: str
    key: Path
    genesis: Path | None
    task: str
    malicious_from: int
    attack: str


def _options() -> _Options:
    parser = argparse.ArgumentParser(description="Train on one participant's digits for a Foedus consortium.")
    parser.add_argument("--participant", required=True, type=int, choices=range(PARTICIPANTS))
    parser.add_argument("--url", required=True, help="the HTTP API of the participant's node")
    parser.add_argument("--key", required=True, type=Path, help="file with the participant's signing key")
    parser.add_argument(
        "--genesis", type=Path, help="the genesis document: check what the node says, do not believe it"
    )
    parser.add_argument("--task", default="digits")
    parser.add_argument("--malicious-from", default=0, type=int, metavar="ROUND", help="attack from this round on")
    parser.add_argument("--attack", default="sign-flip", choices=sorted(ATTACKS))
    return parser.parse_args(namespace=_Options())


if __name__ == "__main__":
    main()
