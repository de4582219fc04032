"""What Google's CEL engine makes of the same expressions on the same inputs. One law: it is asked, never told.

`.venv/bin/python -m tests.fl.cel_judge > tests/vectors/policies/cel.json` writes the vectors anew, where
`cel-expr-python` is installed (`pip install -e ".[judges]"`).
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any, Final

from fl.policies.errors import PolicyError
from fl.policies.occasions import UpdateOccasion
from fl.policies.program import compile_policy
from fl.policies.types import Input, type_of
from tests.fl.policy_texts import TEXTS, Writer, occasion_of

SEED: Final = 20_261_127
INPUTS: Final = 12
EXPRESSIONS: Final = 600


class Judge:
    """Google's engine, with the names of an occasion."""

    def __init__(self, occasion: type[Input]) -> None:
        from cel_expr_python import cel

        kinds = {"bool": cel.Type.BOOL, "int": cel.Type.INT, "string": cel.Type.STRING}
        record = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        names = {name: kinds.get(kind.kind, record) for name, kind in type_of(occasion).fields}
        self._environment = cel.NewEnv(variables=names)

    def outcome(self, text: str, inputs: dict[str, Any]) -> str:
        """Return `true`, `false` or `error`.

        Raises:
            RuntimeError: it does not take the text.
        """
        value = self._environment.compile(text).eval(data=inputs).value()
        return str(value).lower() if isinstance(value, bool) else "error"


def plain(one: object) -> Any:  # noqa: ANN401 - an input's fields are anything
    """Return an input as plain values."""
    if isinstance(one, Input):
        return {name: plain(getattr(one, name)) for name in one.__struct_fields__}
    return [plain(item) for item in one] if isinstance(one, tuple) else one


def admitted(text: str) -> bool:
    """Tell whether a text is a policy, so that the judge is asked."""
    try:
        compile_policy(text, UpdateOccasion)
    except PolicyError:
        return False
    return True


def texts(seed: int, count: int) -> list[str]:
    """Return so many policies made by lot."""
    writer, found = Writer(Random(seed), type_of(UpdateOccasion), faults=False), list[str]()
    while len(found) < count:
        text = writer.text()
        if admitted(text):
            found.append(text)
    return found


def main() -> None:
    """Write the vectors."""
    judge, lots = Judge(UpdateOccasion), Random(SEED)
    inputs = [plain(occasion_of(lots)) for _ in range(INPUTS)]
    known = [text for text in TEXTS if admitted(text)]
    cases = [
        [text, number % INPUTS, judge.outcome(text, inputs[number % INPUTS])]
        for number, text in enumerate([*known, *texts(SEED, EXPRESSIONS)])
    ]
    json.dump({"engine": "cel-expr-python 0.1.3", "inputs": inputs, "cases": cases}, sys.stdout, indent=0)


if __name__ == "__main__":
    main()
