"""docs/operations.md does what it says: its commands are run on a node at work, its alarms watch what there is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from foedus.demo.processes import Processes
from genesis.document import load_document
from genesis.local import LocalConsortium, LocalNode
from genesis.signatures import load_signatures, require_signed
from ledger.parameters import ConsensusParameters
from node.metrics import NodeMetrics
from node.reason import REASONS
from tests.processes.harness import Trainers, grow, make_hospitals, require_equal_chains, start

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((ROOT / "docs" / "alerts.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
METRICS = set(re.findall(r"^# TYPE (foedus_\w+)", NodeMetrics().render().decode(), re.MULTILINE))
SECONDS_MAX = 600
SUPERVISOR = """#!/bin/bash
# What systemd does with the unit on the page, as far as the page asks for it.
set -e
case $1 in
  start) setsid nohup {command} >> {state}/log 2>&1 < /dev/null & echo $! > {state}/pid;;
  stop) pid=$(cat {state}/pid); kill "$pid"; while kill -0 "$pid" 2> /dev/null; do sleep 0.1; done;;
esac
"""


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language; one marked `skip` is another language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def anchors() -> set[str]:
    """Return what a link to a heading of the page looks like."""
    return {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_watches_metrics_that_a_node_has_and_leads_to_its_section(alert: dict[str, object]) -> None:
    """Structure: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ ."""
    assert set(alert) <= {"alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
    expression, labels, annotations = str(alert["expr"]), alert["labels"], alert["annotations"]
    named = set(re.findall(r"foedus_\w+", expression))
    assert named <= METRICS
    assert named or 'up{job="foedus"}' in expression
    assert expression.count("(") == expression.count(")")
    assert re.fullmatch(r"(\d+(ms|[smhdwy]))+", str(alert.get("for", "1m")))
    assert set(re.findall(r'code="([a-z.]+)"', expression)) <= set(REASONS)
    assert isinstance(labels, dict)
    assert labels["severity"] in {"critical", "warning"}
    assert isinstance(annotations, dict)
    page, _, anchor = str(annotations["runbook"]).partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors()


def test_rules_are_groups_of_rules_with_names_of_their_own() -> None:
    assert set(RULES) == {"groups"}
    assert all(set(group) <= {"name", "interval", "rules"} for group in RULES["groups"])
    names = [alert["alert"] for alert in ALERTS]
    assert len(names) == len(set(names))


def test_the_page_lists_every_alert_and_no_other() -> None:
    assert set(re.findall(r"`(Foedus\w+)`", PAGE)) == {alert["alert"] for alert in ALERTS}


def test_links_within_the_page_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= anchors()


@contextmanager
def supervised(node: LocalNode, place: Path) -> Iterator[dict[str, str]]:
    """Run a node as the page's unit says; give the environment in which `systemctl` starts and stops it."""
    tools, state = place / "bin", place / "state"
    tools.mkdir()
    state.mkdir()
    found = re.search(r"^ExecStart=(.+)$", blocks("ini")[0], re.MULTILINE)
    assert found is not None
    scripts = {
        "foedus": f'#!/bin/sh\nexec {sys.executable} -m foedus "$@"\n',
        "systemctl": SUPERVISOR.format(command=found[1], state=state),
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FOEDUS_URL": node.url,
    }
    subprocess.run(["systemctl", "start", "foedus"], cwd=node.directory, env=environment, check=True)
    try:
        yield environment
    finally:
        with suppress(ProcessLookupError):
            os.kill(int((state / "pid").read_text()), signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.processes
@pytest.mark.xdist_group("processes")
@pytest.mark.skipif(shutil.which("bash") is None, reason="the page is written for a shell")
def test_every_procedure_is_carried_out_on_a_node_at_work_and_nothing_is_lost(tmp_path: Path) -> None:
    """One shell, from the page's first command to its last; the other three and a trainer go on meanwhile."""
    consortium = make_hospitals(
        tmp_path / "consortium", collect_ms=500, parameters=ConsensusParameters(clock_drift_ms_max=2_000)
    )
    node, *others = consortium.nodes
    with node.config.open("a") as file:  # the doctor compares the quota with this machine's disk
        file.write("\n[payloads]\nquota_bytes_max = 100000000\n")
    places = {name: tmp_path / "consortium" / name for name in ("backup", "new-machine", "larger")}
    script = "\n".join(blocks("sh"))
    lend_keys(consortium, node)
    for name, place in places.items():
        place.mkdir()
        script = script.replace(f"/mnt/{name}", str(place))
    assert "/mnt" not in script
    with Processes(tmp_path / "logs") as processes, supervised(node, tmp_path) as environment:
        start(processes, consortium, node)
        with Trainers(consortium, others[0].name) as trainers:
            grow(list(consortium.nodes), 2)
            said = carried_out(script, node.directory, environment)
            moved = places["larger"] / "data"
            grow([*others], 3)
            stop = subprocess.run(["systemctl", "stop", "foedus"], cwd=node.directory, env=environment, check=False)
            processes.stop()
            require_equal_chains(consortium, trainers.acknowledged, node)
    assert stop.returncode == 0
    assert said.count("Nothing to do.") >= 6, said
    assert said.count("differences") >= 3, said
    assert_same_chain(moved, others[0], consortium)
    assert sorted(path.name for path in places["backup"].iterdir()) == ["before-upgrade", "today"]
    assert not list(places["backup"].rglob("*.key"))
    assert_it_names_its_predecessor(places["new-machine"] / "foedus")


def lend_keys(consortium: LocalConsortium, node: LocalNode) -> None:
    """Put the officers' keys and a passphrase where the page has them."""
    for name, path in consortium.participants.items():
        if name.endswith("-officer"):
            own = name == f"{node.name}-officer"
            shutil.copy(path, node.directory / ("officer.key" if own else f"{name}.key"))
    (node.directory / "passphrase").write_text("correct horse battery staple\n")
    (node.directory / "passphrase").chmod(0o600)


def carried_out(script: str, directory: Path, environment: dict[str, str]) -> str:
    """Run a script as somebody would type it; return what was said."""
    with (directory.parent / "said").open("w+b") as said:
        shell = subprocess.Popen(
            ["bash", "-exc", script], cwd=directory, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            code = shell.wait(SECONDS_MAX)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        said.seek(0)
        text = said.read().decode()
    assert code == 0, text
    return text


def assert_it_names_its_predecessor(directory: Path) -> None:
    """Check that the new chain's document holds the id of the old one's block, and that its members signed that."""
    document = load_document(directory / "new-genesis.json")
    assert document.chain_name == json.loads((directory / "last-block.json").read_text())["id"]
    require_signed(document, load_signatures(directory / "new-signatures.json"))


def assert_same_chain(data: Path, other: LocalNode, consortium: LocalConsortium) -> None:
    """Check that what was restored and moved holds the chain that the others hold."""
    from foedus.audit import audit, open_history
    from tests.processes.harness import blocks_of

    ours, theirs = blocks_of(data), blocks_of(other.data)
    shortest = min(len(ours), len(theirs))
    assert shortest > 0
    assert ours[:shortest] == theirs[:shortest]
    with open_history(data, consortium.genesis) as history:
        assert audit(history, source="restored").found == []
