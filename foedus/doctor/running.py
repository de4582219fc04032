"""A running node and its peers: ports, chain, clock, links, and why it is stuck. One law: it only asks."""

from __future__ import annotations

import errno
import socket
from time import time_ns
from typing import Final

from foedus.cli.api import Node
from foedus.cli.output import CommandError
from foedus.doctor.finding import Report
from genesis.document import GenesisDocument
from node.config import Config
from node.view import NodeStatus, PeerLink

CONNECT_SECONDS_MAX: Final = 2.0
ANSWER_SECONDS_MAX: Final = 5.0
ROUND_TRIP_MS_MAX: Final = 1_000.0
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


def examine_running(report: Report, config: Config, document: GenesisDocument, *, url: str | None = None) -> None:
    """Look at a node that runs, or at what would keep it from starting.

    Args:
        report: what is found is added here.
        config: the node's settings.
        document: its genesis document.
        url: of its API; by its settings when None.
    """
    status = _status(report, config, url)
    if status is None:
        _port(report, "peer.port", config.peer.host, config.peer.port)
        return
    _chain(report, document, status)
    _clock(report, document, status)
    _peers(report, config, document, status)
    _progress(report, status)
    _reasons(report, status)


def _status(report: Report, config: Config, url: str | None) -> NodeStatus | None:
    scheme = "http" if config.api.tls_certificate is None else "https"
    host = _WILDCARDS.get(config.api.host, config.api.host)
    address = url or f"{scheme}://{f'[{host}]' if ':' in host else host}:{config.api.port}"
    try:
        status = Node(address, seconds_max=ANSWER_SECONDS_MAX).get(NodeStatus, "status")
    except CommandError as error:
        if url is None and _is_free(config.api.host, config.api.port):
            report.problem(
                "api", f"nothing listens at {address}", "start the node: `foedus node run`; its log says more"
            )
        else:
            report.problem("api", str(error), "see which program has the port, or name the node's URL with --url")
        return None
    report.ok("api", f"{address} answers, foedus {status.version}")
    return status


def _port(report: Report, check: str, host: str, port: int) -> None:
    if port and not _is_free(host, port):
        report.problem(check, f"another program listens at {host}:{port}", "stop it, or set another port")
    else:
        report.ok(check, f"{host}:{port} is free")


def _is_free(host: str, port: int) -> bool:
    """Tell whether this machine could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _chain(report: Report, document: GenesisDocument, status: NodeStatus) -> None:
    needed = document.chain_id.hex()
    if status.chain_id != needed:
        report.problem(
            "chain",
            f"the node follows chain {status.chain_id}, the genesis document is chain {needed}",
            "the node runs with another document: restart it with these settings, or name its own with --url",
        )
    elif not status.validator:
        report.problem(
            "chain",
            f"{status.name} is no validator of the next height",
            "look with `foedus validator list`, `proposal list` and `evidence list`: the others have not voted for it "
            "yet, have removed it, or it is suspended",
        )
    else:
        report.ok("chain", f"the document's; {status.name} votes")


def _clock(report: Report, document: GenesisDocument, status: NodeStatus) -> None:
    """Compare this clock with the last block's time, which a quorum's clocks agreed to."""
    ahead_ms = status.tip_time_ms - time_ns() // 1_000_000
    allowed = document.parameters.clock_drift_ms_max
    if ahead_ms > allowed:
        report.problem(
            "clock",
            f"the last block is {ahead_ms / 1000:.0f} s in this machine's future, {allowed / 1000:.0f} s are tolerated",
            "set the clock (such as by NTP): with this one the node votes for no block",
        )
    elif "clock.own" not in {reason.code for reason in status.reasons}:
        block = f"the last block was {-ahead_ms / 1000:.0f} s ago" if status.height else "no block yet"
        off = status.clock_offset_ms
        report.ok("clock", block if off is None else f"{abs(off) / 1000:.1f} s from most validators'; {block}")


def _progress(report: Report, status: NodeStatus) -> None:
    """Say whether the chain goes on, and when it does not, what to do first."""
    if not status.stuck:
        report.ok("progress", f"height {status.height}, {status.mempool_transactions} transactions wait")
        return
    remedies = [reason.remedy for reason in status.reasons if reason.stops in {"chain", "node"} and reason.remedy]
    report.problem("progress", status.stuck, remedies[0] if remedies else "see what is wrong above and below this line")


def _reasons(report: Report, status: NodeStatus) -> None:
    """Pass on what the node itself says: those about which there is nothing to do are no problems."""
    for reason in status.reasons:
        if reason.remedy:
            report.problem(reason.code, reason.detail, reason.remedy)
        else:
            report.ok(reason.code, reason.detail)


def _peers(report: Report, config: Config, document: GenesisDocument, status: NodeStatus) -> None:
    addresses = {one.name: one.address for one in document.validators.members} | config.peers
    for peer in status.peers:
        if not peer.connected:
            report.problem(f"peer {peer.name}", *_why_away(peer, addresses.get(peer.name, "")))
        elif peer.round_trip_ms is not None and peer.round_trip_ms > ROUND_TRIP_MS_MAX:
            detail = f"connected, but a message takes {peer.round_trip_ms:.0f} ms there and back"
            report.problem(f"peer {peer.name}", detail, "look for what fills the line between you")
        else:
            trip = "" if peer.round_trip_ms is None else f", {peer.round_trip_ms:.0f} ms"
            report.ok(f"peer {peer.name}", f"connected{trip}")


def _why_away(peer: PeerLink, address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    if not host:
        return (
            "not connected; it has no address here",
            f"wait until it connects, or set its address in [peers] {peer.name}",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS_MAX):
            return (
                f"not connected, though {address} can be reached",
                "compare genesis document and keys with its operator: each refuses whom it does not know",
            )
    except socket.gaierror:
        return f"nobody knows the host of {address}", f"ask for its address and set it in [peers] {peer.name}"
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            return f"{address} refuses connections", "ask its operator whether the node runs and listens there"
        return (
            f"{address} cannot be reached ({error})",
            "look at firewalls and routes between you, then ask its operator",
        )
