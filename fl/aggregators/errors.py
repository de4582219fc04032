"""Why an aggregation is refused. One law: a rule that cannot keep its promise gives no result (fail closed)."""


class AggregationError(ValueError):
    """Base of every refusal."""


class RuleSpecError(AggregationError):
    """A rule's parameters contradict each other or have no meaning for the rule."""


class TooFewUpdatesError(AggregationError):
    """The round has too few updates for the rule to hold against `f` liars."""

    def __init__(self, *, rule: str, received: int, needed: int) -> None:
        super().__init__(f"{rule} needs at least {needed} updates, got {received}")
        self.rule = rule
        self.received = received
        self.needed = needed


class TooManyUpdatesError(AggregationError):
    """The round has more updates than the rule is proven or meant for."""

    def __init__(self, *, rule: str, received: int, updates_max: int) -> None:
        super().__init__(f"{rule} takes at most {updates_max} updates, got {received}")
        self.rule = rule
        self.received = received
        self.updates_max = updates_max


class UpdateArrayError(AggregationError):
    """The updates are not n rows of d int16 words for these segments and weights."""


class UpdateRangeError(AggregationError):
    """A row holds a word beyond the grid; validation should have refused it."""

    def __init__(self, *, row: int, magnitude: int, word_max: int) -> None:
        super().__init__(f"every word must be within {word_max}, row {row} holds one of magnitude {magnitude}")
        self.row = row
        self.magnitude = magnitude
        self.word_max = word_max


class WeightError(AggregationError):
    """A weight is not a sample count."""

    def __init__(self, *, row: int, weight: int, weight_max: int) -> None:
        super().__init__(f"a weight is a sample count of 1..{weight_max}, row {row} has {weight}")
        self.row = row
        self.weight = weight
        self.weight_max = weight_max


class RootMissingError(AggregationError):
    """The participant that a rule trusts has no update in the round."""

    def __init__(self, root: str) -> None:
        super().__init__(f"the round needs an update of {root}, which the task trusts, and has none")
        self.root = root
