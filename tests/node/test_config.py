"""Settings: read once, all faults at once, each one documented."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from genesis.local import LocalNode
from genesis.reading import to_json
from node import config as config_module
from node.config import InvalidConfigError, effective, is_loopback, load_config, settings
from tests.genesis.consortium import make

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def node(tmp_path: Path) -> LocalNode:
    return make(tmp_path / "c").nodes[0]


def faults(node: LocalNode, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        load_config(node.config, environment or {})
    return "\n".join(caught.value.faults)


def edit(node: LocalNode, old: str, new: str) -> None:
    text = node.config.read_text()
    assert old in text
    node.config.write_text(text.replace(old, new))


def test_a_variable_overrides_the_file_and_says_so(node: LocalNode) -> None:
    loaded = load_config(node.config, {"FOEDUS_API__PORT": "8001", "FOEDUS_LOGGING__LEVEL": "debug"})
    shown = effective(loaded)
    assert shown["api.port"] == (8001, "environment")
    assert shown["logging.level"] == ("debug", "environment")
    assert shown["peer.port"] == (node.peer_port, "file")
    assert shown["mempool.transactions_max"] == (20_000, "default")


def test_paths_count_from_the_file(node: LocalNode) -> None:
    assert load_config(node.config, {}).config.node.data_dir == node.directory / "data"


def test_all_faults_are_reported_at_once(node: LocalNode) -> None:
    edit(node, "[api]", "[apy]")
    edit(node, 'data_dir = "data"', "data_dir = 7")
    text = faults(node, {"FOEDUS_MEMPOOL__BYTES_MAX": "many", "FOEDUS_LOGGING__LEVL": "info"})
    assert "apy: is not known; did you mean api?" in text
    assert "api: is missing" in text
    assert "node.data_dir: needs a path" in text
    assert "mempool.bytes_max: expected `int`, got 'many'" in text
    assert "FOEDUS_LOGGING__LEVL: names no setting; did you mean FOEDUS_LOGGING__LEVEL?" in text


def test_missing_files_and_contradictions_are_reported_together(node: LocalNode) -> None:
    text = faults(
        node,
        {
            "FOEDUS_KEYS__VALIDATOR": "gone.key",
            "FOEDUS_API__HOST": "192.0.2.1",
            "FOEDUS_API__TLS_KEY": "gone.pem",
            "FOEDUS_MEMPOOL__TRANSACTIONS_MAX": "10",
        },
    )
    assert "keys.validator: no such file" in text
    assert "api.tls_key: no such file" in text
    assert "HTTPS needs both" in text
    assert "transactions_per_sender_max: at most" in text


def test_an_open_address_without_tls_is_refused(node: LocalNode) -> None:
    assert "needs HTTPS" in faults(node, {"FOEDUS_API__HOST": "192.0.2.1"})


def test_one_port_for_two_listeners_is_refused(node: LocalNode) -> None:
    assert "a port of its own" in faults(node, {"FOEDUS_API__PORT": str(node.peer_port)})


def test_a_node_that_prunes_keeps_enough_for_one_that_catches_up(node: LocalNode) -> None:
    assert "storage.blocks_kept: 0 or at least 64, got 63" in faults(node, {"FOEDUS_STORAGE__BLOCKS_KEPT": "63"})
    assert load_config(node.config, {"FOEDUS_STORAGE__BLOCKS_KEPT": "64"}).config.storage.blocks_kept == 64


def test_an_address_of_a_peer_needs_a_port(node: LocalNode) -> None:
    node.config.write_text(node.config.read_text() + '\n[peers]\nhungary = "hungary.example"\n')
    assert "peers.hungary: needs host:port" in faults(node)


@pytest.mark.parametrize("text", ["node = 1", "[node\n", "\x00"])
def test_a_file_that_is_no_settings_is_a_typed_error(node: LocalNode, text: str) -> None:
    node.config.write_text(text)
    assert faults(node)


def test_a_section_that_is_no_table_is_a_typed_error(node: LocalNode) -> None:
    node.config.write_text("api = 7\n")
    assert "api: needs ApiSection with its fields by name, got 7" in faults(node, {"FOEDUS_API__PORT": "1"})


def test_a_missing_file_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match="cannot be read"):
        load_config(tmp_path / "node.toml", {})


@pytest.mark.parametrize(
    "host,answer", [("127.0.0.1", True), ("::1", True), ("localhost", True), ("192.0.2.1", False), ("10.0.0.1", False)]
)
def test_loopback_is_what_only_this_machine_reaches(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


def test_each_setting_is_in_the_documentation_with_its_default(node: LocalNode) -> None:
    rows = dict(re.findall(r"^\| `([a-z_.<>]+)` \| ([^|]+) \|", DOCUMENTATION.read_text(), flags=re.MULTILINE))
    shown = effective(load_config(node.config, {}))
    assert set(rows) - {"peers.<name>"} == set(settings())
    for setting, (value, source) in shown.items():
        if source == "default":
            written = rows[setting].strip().strip("`")
            assert written == ("none" if value is None else str(to_json(value))), setting


def test_each_setting_has_a_docstring() -> None:
    tree = ast.parse(Path(config_module.__file__).read_text())
    for node in (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name.endswith("Section")):
        for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign):
                assert isinstance(following, ast.Expr), f"{node.name}.{ast.unparse(statement)}"
