"""docker compose up, for real: four nodes, four trainers, and one fault after another."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from foedus import ClientError
from genesis.presets import HOSPITALS
from tests.docker.stack import Stack, docker, reason_to_skip, until

REASON: Final = reason_to_skip()
pytestmark = [
    pytest.mark.docker,
    pytest.mark.xdist_group("docker"),
    pytest.mark.skipif(bool(REASON), reason=REASON),
]

ROUNDS: Final = 30
FIRST_ROUND_SECONDS_MAX: Final = 60.0
ROUND_SECONDS_MAX: Final = 60.0
AWAY_SECONDS_MAX: Final = 30.0
CATCH_UP_SECONDS_MAX: Final = 60.0
TRAINING_SECONDS_MAX: Final = 300.0
IDLE_BYTES_MAX: Final = 150_000_000
VERSIONS: Final = (1, 2, 3)


@dataclass
class Up:
    """The stack, and how long it took from `up` to the first certified round."""

    stack: Stack
    seconds: float


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    stack = Stack(f"foedus-test-{secrets.token_hex(3)}", tmp_path_factory.mktemp("docker"), rounds=ROUNDS)
    try:
        began = time.monotonic()
        stack.compose("up", "--detach")
        try:
            until(lambda: version(stack, "cleveland") >= 1, FIRST_ROUND_SECONDS_MAX, "a certified round")
        except (AssertionError, ClientError):
            pytest.fail(stack.compose("logs", "--tail", "20"))
        yield Up(stack, time.monotonic() - began)
    finally:
        stack.remove()


@pytest.fixture
def stack(up: Up) -> Stack:
    return up.stack


def version(stack: Stack, hospital: str) -> int:
    with stack.session(hospital) as session:
        return session.task().version


def is_finished(stack: Stack, hospital: str) -> bool:
    with stack.session(hospital) as session:
        return session.task().status == "finished"


def is_caught_up(stack: Stack, victim: str) -> bool:
    return len({stack.status(hospital).tip_id for hospital in HOSPITALS}) == 1 and not away(stack, victim)


def away(stack: Stack, hospital: str) -> list[str]:
    """Return the peers that a node has no link to."""
    return sorted(peer.name for peer in stack.status(hospital).peers if not peer.connected)


def require_one_chain(stack: Stack) -> None:
    """Check that all nodes have the same blocks, from the first to the last."""
    chains = [stack.chain(hospital) for hospital in HOSPITALS]
    assert len(chains[0]) == stack.status(HOSPITALS[0]).height > 0
    assert [chain == chains[0] for chain in chains] == [True] * len(chains)


def test_the_first_round_is_certified_within_a_minute_of_up(up: Up) -> None:
    assert up.seconds <= FIRST_ROUND_SECONDS_MAX


def test_a_node_that_is_killed_in_mid_training_comes_back_and_its_trainer_goes_on(stack: Stack) -> None:
    """A round without the fourth trainer waits ten seconds for it, so not all are over before the node is back."""
    docker("kill", stack.container("cleveland"))
    seen = version(stack, "hungary")
    assert seen < ROUNDS
    until(lambda: version(stack, "hungary") > seen, ROUND_SECONDS_MAX, "a round of three hospitals")

    stack.compose("start", "cleveland")

    until(lambda: is_finished(stack, "cleveland"), TRAINING_SECONDS_MAX, "the end of the task")
    until(lambda: is_caught_up(stack, "cleveland"), CATCH_UP_SECONDS_MAX, "equal chains")
    require_one_chain(stack)
    codes = [docker("wait", stack.container(f"{hospital}-trainer")).strip() for hospital in HOSPITALS]
    assert codes == ["0"] * len(HOSPITALS)


@dataclass(frozen=True)
class Fault:
    """What happens to a node, and how it is mended."""

    victim: str
    reporter: str
    """Whose trainer makes blocks meanwhile."""

    strike: Callable[[Stack, str], object]
    mend: Callable[[Stack, str], object]
    answers: bool
    """Whether the victim's API answers meanwhile."""


def disconnect(stack: Stack, victim: str) -> None:
    docker("network", "disconnect", f"{stack.project}_consortium", stack.container(victim))


def connect(stack: Stack, victim: str) -> None:
    docker("network", "connect", "--alias", victim, f"{stack.project}_consortium", stack.container(victim))


PAUSED: Final = Fault(
    "switzerland",
    "hungary",
    lambda stack, victim: docker("pause", stack.container(victim)),
    lambda stack, victim: docker("unpause", stack.container(victim)),
    answers=False,
)
DISCONNECTED: Final = Fault("va-long-beach", "cleveland", disconnect, connect, answers=True)


@pytest.mark.parametrize("fault", [PAUSED, DISCONNECTED], ids=["paused", "disconnected"])
def test_a_node_that_was_away_catches_up(stack: Stack, fault: Fault) -> None:
    until(lambda: is_finished(stack, fault.reporter), TRAINING_SECONDS_MAX, "the end of the task")
    key = stack.read(f"{fault.reporter}-trainer", f"/trainer/{fault.reporter}.key")
    before = stack.status(fault.reporter).height
    fault.strike(stack, fault.victim)
    try:
        with stack.session(fault.reporter, key=key, patience=60.0) as session:
            for number in VERSIONS:
                session.evaluate({"auc": 0.5}, samples=1, version=number)
        assert stack.status(fault.reporter).height >= before + len(VERSIONS)
        until(lambda: fault.victim in away(stack, fault.reporter), AWAY_SECONDS_MAX, "the others notice")
        if fault.answers:
            alone = [hospital for hospital in HOSPITALS if hospital != fault.victim]
            until(lambda: away(stack, fault.victim) == alone, AWAY_SECONDS_MAX, "the victim notices")
            assert stack.status(fault.victim).height == before
    finally:
        fault.mend(stack, fault.victim)

    until(lambda: is_caught_up(stack, fault.victim), CATCH_UP_SECONDS_MAX, "equal chains")
    require_one_chain(stack)


def test_a_node_that_crashes_is_started_again(stack: Stack) -> None:
    """docker-init is process 1; it ends when the node, its only child, does."""
    before = stack.status("hungary").boot_epoch
    stack.compose("exec", "-T", "hungary", "sh", "-c", "kill -KILL $(cat /proc/1/task/1/children)")
    until(lambda: stack.status("hungary").boot_epoch > before, CATCH_UP_SECONDS_MAX, "another start")
    until(lambda: is_caught_up(stack, "hungary"), CATCH_UP_SECONDS_MAX, "equal chains")


def test_an_idle_node_takes_at_most_150_megabytes(stack: Stack) -> None:
    until(lambda: is_finished(stack, "cleveland"), TRAINING_SECONDS_MAX, "the end of the task")
    for hospital in HOSPITALS:
        lines = docker("top", stack.container(hospital), "-o", "pid,rss").splitlines()[1:]
        kibibytes = [int(line.split()[1]) for line in lines]
        assert 0 < sum(kibibytes) * 1024 <= IDLE_BYTES_MAX


def test_starting_again_makes_no_second_consortium(stack: Stack) -> None:
    chain = stack.chain("cleveland")
    name = stack.status("cleveland").chain_id
    stack.compose("down")
    stack.compose("up", "--detach")
    for hospital in HOSPITALS:
        assert stack.status(hospital).chain_id == name
        assert stack.chain(hospital)[: len(chain)] == chain


@pytest.mark.parametrize("service", [*HOSPITALS, *(f"{hospital}-trainer" for hospital in HOSPITALS)])
def test_a_container_can_do_little_beside_its_work(stack: Stack, service: str) -> None:
    (found,) = json.loads(docker("inspect", stack.container(service)))
    host = found["HostConfig"]
    assert found["Config"]["User"] == "foedus"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"])
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    published = [binding["HostIp"] for bindings in (host["PortBindings"] or {}).values() for binding in bindings]
    assert published == (["127.0.0.1"] if service in HOSPITALS else [])


@pytest.mark.parametrize("hospital", HOSPITALS)
def test_a_node_holds_no_keys_but_its_own_and_answers_its_healthcheck(stack: Stack, hospital: str) -> None:
    held = stack.compose("exec", "-T", hospital, "find", "/node", "/consortium", "-name", "*.key")
    assert sorted(held.split()) == [f"/node/keys/{name}.key" for name in ("api", "transport", "validator")]
    state = "{{.State.Health.Status}}"
    until(lambda: docker("inspect", "-f", state, stack.container(hospital)).strip() == "healthy", 60.0, "health")


def test_the_image_holds_no_secret(stack: Stack, tmp_path: Path) -> None:
    image = docker("inspect", "-f", "{{.Image}}", stack.container("init")).strip()
    search = "grep -rlE 'foedus-key/1|PRIVATE KEY' /consortium /home /node /root /src /tmp /trainer /var /volumes"
    script = f"{search} 2>/dev/null; find /opt/foedus -name '*.key' -o -name '*.sqlite3'"
    assert docker("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh", image, "-c", script) == ""
