"""The script a bank runs: joins the round that is open, trains on its own payments, submits. Only the SDK is used.

python -m examples.fraud.trainer --bank alder-bank --url http://127.0.0.1:8001 --key alder-bank.key
"""

import argparse
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np

import foedus
from examples.fraud.baselines import FreeRider
from examples.fraud.data import BANKS, TRAIN, load_bank
from examples.fraud.model import train


def main() -> None:
    """Take part in every round of the task until it ends."""
    options = _options()
    own = None if options.free_rider else load_bank(BANKS.index(options.bank))
    rider = FreeRider()
    with foedus.connect(options.url, key=options.key, task=options.task, genesis=options.genesis) as session:
        for open_round in session.rounds():
            if open_round.number == options.absent:
                continue
            new = rider(open_round.model) if own is None else train(open_round.model, own, _noise(options, open_round))
            try:
                with suppress(foedus.RoundOverError):  # the others were faster; the next round begins without us
                    open_round.submit(new, samples=TRAIN)
            except foedus.UpdateRefusedError as error:  # a policy said no: that is for its officers to read
                print(f"round {open_round.number}: {error}", flush=True)


def _noise(options: "_Options", open_round: foedus.Round) -> np.random.Generator:
    """Draw from what only the bank knows, and the same when a round is tried again, so that no noise averages away."""
    secret = sha256(options.key.read_bytes()).digest()
    return np.random.default_rng([open_round.number, *secret])


class _Options(argparse.Namespace):
    bank: str
    free_rider: bool
    absent: int
    url: str
    key: Path
    genesis: Path | None
    task: str


def _options() -> _Options:
    parser = argparse.ArgumentParser(description="Train on one bank's payments for a Foedus consortium.")
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--bank", choices=BANKS)
    who.add_argument("--free-rider", action="store_true", help="have no payments, and repeat what others learned")
    parser.add_argument("--absent", default=0, type=int, metavar="ROUND", help="do not take part in this round")
    parser.add_argument("--url", required=True, help="the HTTP API of the bank's own node")
    parser.add_argument("--key", required=True, type=Path, help="file with the participant's signing key")
    parser.add_argument(
        "--genesis", type=Path, help="the genesis document: check what the node says, do not believe it"
    )
    parser.add_argument("--task", default="fraud")
    return parser.parse_args(namespace=_Options())


if __name__ == "__main__":
    main()
