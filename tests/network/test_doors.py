"""Sites that accept no inbound connection: they dial, and frames between two of them go through a third."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.transaction import decode_transaction
from node.store import Store
from tests.network.testbed import Testbed
from tests.processes.harness import Trainers, require_equal_chains, until
from tests.processes.stream import Stream

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("network")]


def test_two_sites_behind_firewalls_take_part_though_neither_can_open_a_connection_to_the_other(tmp_path: Path) -> None:
    """One has an address that nobody can connect to, the other says that it has none."""
    with Testbed(tmp_path, collect_ms=20_000, without_address=[2]) as bed:
        closed = bed.nodes[:2]
        bed.close_doors(*closed)
        bed.start()
        with Stream(bed.consortium, enter=bed.enter) as stream:
            stream.further(3)
            with Trainers(bed.consortium, enter=bed.enter) as trainers:
                until(lambda: _updates_of_all(bed), "a round with the updates of all four")
            links = {node.name: _linked(bed.status(node)) for node in closed}
        bed.processes.stop()
        require_equal_chains(bed.consortium, stream.acknowledged | trainers.acknowledged)

    assert all(len(names) == 2 for names in links.values()), links
    assert closed[1].name not in links[closed[0].name]


def _updates_of_all(bed: Testbed) -> bool:
    """Tell whether updates of all four participants have been accepted."""
    with Store.open_readonly(bed.nodes[2].data) as store:
        said = store.transactions(before=None, limit=50, kind="update", sender=None)
    return len({decode_transaction(one.raw).sender for one in said if one.receipt.accepted}) == len(bed.nodes)


def _linked(status: dict[str, object]) -> set[str]:
    peers = status["peers"]
    assert isinstance(peers, list)
    return {peer["name"] for peer in peers if peer["connected"]}
