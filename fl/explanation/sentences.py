"""What happened to an update, in one short sentence. One law: it says only what the numbers beside it say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_WHOLE: Final = 1_000_000
_TWINS_NAMED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What a sentence is made of."""

    left_out: bool
    farther: int
    """1 for the update that is nearest to the aggregate, n for the farthest."""

    count: int
    """n."""

    cosine_micros: int
    """To the aggregate."""

    kept_length_micros: int
    twins: tuple[str, ...]
    """Others that are almost the same update."""

    retained: int
    retained_of: int
    influence_micros: int
    is_zero: bool


def sentence(facts: Facts) -> str:
    """Return why an update was used or left out."""
    parts = [_fate(facts)]
    if facts.kept_length_micros < _WHOLE:
        parts.append(f"shortened to {_percent(facts.kept_length_micros)} of its length")
    if facts.twins:
        more = len(facts.twins) - _TWINS_NAMED_MAX
        named = ", ".join(facts.twins[:_TWINS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"almost the same as {named}")
    return "; ".join(parts)


def _fate(facts: Facts) -> str:
    if facts.is_zero:
        return "says nothing: all of its words are zero"
    if facts.left_out:
        against = "points away from the aggregate and is " if facts.cosine_micros < 0 else ""
        counted = "" if facts.retained_of == 1 else f", used in {facts.retained} of {facts.retained_of} neighbourhoods"
        return f"left out: {against}{_place(facts)}{counted}"
    if facts.influence_micros < 0:
        return f"used, and pushes against the aggregate ({_percent(-facts.influence_micros)} of all push)"
    return f"used: {_percent(facts.influence_micros)} of all push; {_place(facts)}"


def _place(facts: Facts) -> str:
    if facts.farther == 1:
        return "the nearest to the aggregate"
    if facts.farther == facts.count:
        return "the farthest from the aggregate"
    return f"the {_ordinal(facts.farther)} nearest of {facts.count} to the aggregate"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _percent(micros: int) -> str:
    """Return millionths as per cent: whole ones from 10 on, one decimal below."""
    tenths = micros // 1_000
    return f"{tenths // 10} %" if tenths >= 100 else f"{tenths // 10}.{tenths % 10} %"
