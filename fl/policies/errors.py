"""Why an expression is no policy, and why one could not be evaluated. One law: a message quotes what was read."""

from __future__ import annotations


class PolicyError(ValueError):
    """A text is not a policy that could be adopted; the message says where and what would be."""


class PolicySyntaxError(PolicyError):
    """The text is not an expression of the part of CEL that policies are written in."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(f"at character {position + 1}: {message}")
        self.position = position


class PolicyTypeError(PolicyError):
    """Something meets what it does not fit, or is not known at all."""


class PolicyCostError(PolicyError):
    """Evaluating it could take more work than a block has for it."""

    def __init__(self, *, cost: int, cost_max: int) -> None:
        super().__init__(f"evaluating it may cost {cost} steps on the largest inputs, at most {cost_max} are allowed")
        self.cost = cost
        self.cost_max = cost_max


class EvaluationError(Exception):
    """An expression has no value on these inputs; a policy without a value denies."""
