"""`foedus token`: made, listed and revoked on a node's data directory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from node.config import load_config
from node.tokens import TokenBook
from tests.foedus.commands import Shell
from tests.genesis.consortium import make

NOW = time.time_ns() // 1_000_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make(tmp_path / "c").nodes[0].config


def book(config: Path) -> TokenBook:
    return TokenBook(load_config(config, {}).config.node.data_dir)


def test_a_new_token_is_printed_alone_and_opens_the_node(foedus: Shell, config: Path) -> None:
    made = foedus("token", "new", "grafana", "--config", config)

    assert made.code == 0
    assert made.out.startswith("foedus-read-")
    assert len(made.out.splitlines()) == 1
    assert "not kept" in made.err
    found = book(config).find(made.out.strip(), now_ms=NOW)
    assert found is not None
    assert (found.name, found.scope) == ("grafana", "read")


def test_the_list_shows_scopes_and_ends_but_nothing_that_opens(foedus: Shell, config: Path) -> None:
    text = str(
        foedus("token", "new", "ci", "--scope", "submit", "--days", 7, "--config", config, "--json").answer["token"]
    )

    listed = foedus("token", "list", "--config", config)

    assert "ci\tsubmit\t" in listed.out
    assert "never" not in listed.out
    assert text.rpartition("-")[2] not in listed.out
    assert "sha256" not in foedus("token", "list", "--config", config, "--json").out


def test_a_revoked_token_opens_nothing_and_is_gone(foedus: Shell, config: Path) -> None:
    text = foedus("token", "new", "ci", "--config", config).out.strip()

    assert foedus("token", "revoke", "ci", "--config", config).code == 0

    assert book(config).find(text, now_ms=NOW) is None
    again = foedus("token", "revoke", "ci", "--config", config)
    assert (again.code, again.err) == (1, "foedus: there is no token ci: known are none\n")


def test_what_cannot_be_made_is_said_in_one_line(foedus: Shell, config: Path, tmp_path: Path) -> None:
    assert "did you mean admin?" in foedus("token", "new", "x", "--scope", "adminn", "--config", config).err
    assert "no token can be made" in foedus("token", "new", "A B", "--config", config).err
    assert "cannot be read" in foedus("token", "list", "--config", tmp_path / "none.toml").err
