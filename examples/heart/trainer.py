"""The script a hospital runs: joins the round that is open, trains on its own patients, submits. Only the SDK is used.

python -m examples.heart.trainer --site Cleveland --url http://127.0.0.1:8001 --key cleveland.key
"""

import argparse
from contextlib import suppress
from pathlib import Path

import foedus
from examples.attack import ATTACKS
from examples.heart.data import CSV, SITES, load_site
from examples.heart.model import auc, log_odds, train


def main() -> None:
    """Take part in every round of the task until it ends."""
    options = _options()
    site = load_site(options.site, options.csv)
    with foedus.connect(options.url, key=options.key, task=options.task, genesis=options.genesis) as session:
        for open_round in session.rounds():
            new = train(open_round.model, site.train)
            if options.malicious_from and open_round.number >= options.malicious_from:
                new = ATTACKS[options.attack](open_round.model, new)
            held_out = auc(log_odds(open_round.model, site.test.features), site.test.labels)
            with suppress(foedus.RoundOverError):  # the others were faster; the next round begins without us
                open_round.submit(new, samples=len(site.train), metrics={"auc": held_out})


class _Options(argparse.Namespace):
    site: str
    url: str
    key: Path
    genesis: Path | None
    task: str
    csv: Path
    malicious_from: int
    attack: str


def _options() -> _Options:
    parser = argparse.ArgumentParser(description="Train on one hospital's heart patients for a Foedus consortium.")
    parser.add_argument("--site", required=True, choices=SITES)
    parser.add_argument("--url", required=True, help="the HTTP API of the hospital's own node")
    parser.add_argument("--key", required=True, type=Path, help="file with the participant's signing key")
    parser.add_argument(
        "--genesis", type=Path, help="the genesis document: check what the node says, do not believe it"
    )
    parser.add_argument("--task", default="heart")
    parser.add_argument("--csv", default=CSV, type=Path, help="the patients; by default the ones beside this script")
    parser.add_argument("--malicious-from", default=0, type=int, metavar="ROUND", help="attack from this round on")
    parser.add_argument("--attack", default="sign-flip", choices=sorted(ATTACKS))
    return parser.parse_args(namespace=_Options())


if __name__ == "__main__":
    main()
