"""What the tests of crash points share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, set_forkserver_preload
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.crash.boundaries import compiled
from tests.project.tree import ROOT


@pytest.fixture(scope="session")
def boundaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The library that counts effects, loaded into the process that all lives are forked from."""
    library = compiled(tmp_path_factory.mktemp("boundaries"))
    if library is None:
        pytest.skip("there is no C compiler (on Debian and Ubuntu: apt install gcc libc6-dev)")
    set_forkserver_preload(["tests.crash.incarnation"])
    with patch.dict(os.environ, {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}):
        forkserver.ensure_running()
    yield library
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Say a line to whoever runs the tests, also when all is well: how much was tried."""

    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return say
