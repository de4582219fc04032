"""Testbeds for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.testbed import Testbed
from tests.processes.harness import require_equal_chains
from tests.processes.stream import Stream


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Testbed]:
    """Four running nodes; when all tests of a module are over, their chains must be equal."""
    with Testbed(tmp_path_factory.mktemp("network")) as bed:
        bed.start()
        yield bed
        bed.processes.stop()
        require_equal_chains(bed.consortium, bed.acknowledged)


@pytest.fixture
def stream(bed: Testbed) -> Iterator[Stream]:
    """Transactions through all four nodes, for one test; it begins and ends with all of them taking part."""
    with Stream(bed.consortium, enter=bed.enter) as stream:
        stream.further(1)
        yield stream
        bed.heal()
        stream.further(3)
    bed.acknowledged |= stream.acknowledged
