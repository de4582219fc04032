"""All targets, by name."""

from __future__ import annotations

from typing import Final

from tests.fuzz.machines import MACHINES
from tests.fuzz.records import RECORDS
from tests.fuzz.target import Target
from tests.fuzz.texts import TEXTS

TARGETS: Final[dict[str, Target]] = {target.name: target for target in (*RECORDS, *MACHINES, *TEXTS)}
