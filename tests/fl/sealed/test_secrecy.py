"""What one corrupt validator sees has the same distribution for all updates with the same Gram matrix and sum.

Everything is enumerated in the field of five elements, with n = 4, two participants and one or two coordinates: all
updates, all values of the keys that the corrupt validator lacks. What it knows is fixed, at random, several times. The
shares are computed by the project's functions, handed arrays in place of numbers. Given the pads, what is seen of the
products of different pairs is independent, so the distributions of pairs are compared and not their product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from fl.sealed.committee import Committee, point_of
from fl.sealed.field import Field
from fl.sealed.pads import double_share
from fl.sealed.polynomial import lagrange
from fl.sealed.shares import gram_shares, pair_masks, pairs_of, product_shares

P: Final = 5
FIVE: Final = Field(P)
FOUR: Final = Committee(4, FIVE)
Leak = Literal["none", "no masks", "masks of degree f alone", "a pad used again", "two weight vectors"]
Codes: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True)
class World:
    """Who is corrupt, and what it knows of the keys."""

    d: int
    corrupt: int
    """A validator."""

    knows_second: bool
    """The second participant is corrupt too: its update and all that it dealt are fixed."""

    weights: tuple[int, int]
    leak: Leak
    seed: int

    def is_known(self, participant: int) -> bool:
        """Whether the corrupt ones know all that a participant dealt."""
        return participant == 1 and self.knows_second

    @property
    def hidden_set(self) -> int:
        """The one set that the corrupt validator is not in."""
        return next(place for place, members in enumerate(FOUR.sets) if self.corrupt not in members)


def scrambled(values: Codes) -> Codes:
    """A fixed random-looking function of 64 bits (splitmix64): sums of it tell multisets apart."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def everything(d: int) -> Codes:
    """All vectors of the field, shape (5^d, d)."""
    return np.stack(np.meshgrid(*[np.arange(P, dtype=np.uint64)] * d, indexing="ij"), axis=-1).reshape(-1, d)


def code_of(parts: list[Codes]) -> Codes:
    """One number for each way the parts can be, along their common last axes."""
    code: Codes = np.zeros(1, np.uint64)
    for part in parts:
        code = scrambled(code + part)
    return code


def vectors_code(vectors: Codes) -> Codes:
    code: Codes = (vectors * P ** np.arange(vectors.shape[-1], dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)
    return code


def many(values: NDArray[np.generic]) -> Any:  # noqa: ANN401 - what the project's functions take for one number
    """All values of a number at once."""
    return values.astype(np.int64)


def distributions(world: World) -> tuple[Codes, Codes]:
    """For each pair of updates, a code of what is opened and a code of the distribution of what is seen.

    Axes of all arrays: first update, second update, first hidden pad part, second hidden pad part, mask.
    """
    dice = np.random.default_rng(world.seed)
    space = everything(world.d)
    size = len(space)
    shares = [_pad_shares(world, dice, axis) for axis in (2, 3)]
    updates = [space.reshape(size, 1, 1, 1, 1, world.d), space.reshape(1, size, 1, 1, 1, world.d)]
    if world.knows_second:
        update, part = (int(drawn) for drawn in dice.integers(size, size=2))
        updates[1] = updates[1][:, update : update + 1]
        shares[1] = [share[:, :, :, part : part + 1] for share in shares[1]]
    whole = [FIVE.combination(lagrange(FIVE, [1, 2, 3, 4]), share) for share in shares]
    posted = [FIVE.subtract(*np.broadcast_arrays(x, z)) for x, z in zip(updates, whole, strict=True)]
    seen = [vectors_code(y) for y in posted]
    for weights in [world.weights, (1, 2)] if world.leak == "two weight vectors" else [world.weights]:
        for validator in range(4):
            both = np.broadcast_arrays(*(share[validator] for share in shares))
            seen.append(vectors_code(FIVE.combination(weights, both)))
    if world.leak == "a pad used again":
        seen += [
            vectors_code(FIVE.subtract(*np.broadcast_arrays(FIVE.multiply(x, np.uint64(2)), z)))
            for x, z in zip(updates, whole, strict=True)
        ]
    by_pair = _pair_views(world, dice, shares, posted)
    joint = code_of([*seen, *by_pair])
    shape = np.broadcast_shapes(joint.shape, (size, 1 if world.knows_second else size, size, 1, 1))
    view = scrambled(np.broadcast_to(joint, shape)).sum(axis=(2, 3, 4), dtype=np.uint64)
    total = FIVE.combination(world.weights, np.broadcast_arrays(*updates))
    gram = [FIVE.dots(updates[k], updates[other]) for k, other in pairs_of(2)]
    opened = code_of([*gram, vectors_code(total)])
    known = opened if not world.knows_second else code_of([opened, vectors_code(updates[1])])
    return np.broadcast_to(known[:, :, 0, 0, 0], view.shape), view


def _pad_shares(world: World, dice: np.random.Generator, axis: int) -> list[Codes]:
    """Each validator's share of one participant's pad, over all values of the part that the corrupt one lacks."""
    space = everything(world.d)
    shape = [1] * 5
    shape[axis] = len(space)
    known = {place: space[dice.integers(len(space))] for place in range(len(FOUR.sets))}
    parts = {
        place: space if place == world.hidden_set else np.broadcast_to(known[place], space.shape) for place in known
    }
    return [
        FIVE.combination(
            [FOUR.basis(place, validator) for place in FOUR.sets_of(validator)],
            [parts[place] for place in FOUR.sets_of(validator)],
        ).reshape(*shape, world.d)
        for validator in range(4)
    ]


def _pair_views(world: World, dice: np.random.Generator, shares: list[list[Codes]], posted: list[Codes]) -> list[Codes]:
    """For each pair, a code of the distribution over its mask of all its masked products and Gram shares."""
    drawn = dice.integers(0, P, (2, 2, len(FOUR.sets), FOUR.f + 1))
    own, twin = np.divmod(np.arange(P * P), P)
    views = []
    for pair, (k, other) in enumerate(pairs_of(2)):
        masks = []
        for validator in range(4):
            contributions = [
                [
                    double_share(
                        FOUR,
                        validator,
                        {
                            place: (many(own), many(twin))
                            if place == world.hidden_set and (k, other) == (dealer, partner) and not world.is_known(k)
                            else tuple(drawn[dealer, partner, place])
                            for place in FOUR.sets_of(validator)
                        },
                    )
                    for partner in range(2)
                ]
                for dealer in range(2)
            ]
            low, high = pair_masks(FIVE, contributions)[pair]
            if world.leak == "no masks":
                low, high = 0 * low, 0 * high
            masks.append((low, low if world.leak == "masks of degree f alone" else high))
        bare = [many(FIVE.dots(shares[k][j], shares[other][j])) for j in range(4)]
        masked = [product_shares(FIVE, [bare[j]], [masks[j]])[0] for j in range(4)]
        factors = lagrange(FIVE, [point_of(j) for j in range(3)])
        constant = sum(factor * value for factor, value in zip(factors, masked, strict=False)) % P
        view: list[Any] = list(masked)
        for j in range(4):
            rows = [FIVE.add(*np.broadcast_arrays(posted[row], shares[row][j])) for row in (k, other)]
            products = many(FIVE.dots(*np.broadcast_arrays(*rows)))
            view += gram_shares(FIVE, [products], [bare[j]], [constant], [masks[j]])
        code = sum(value.astype(np.uint64) * np.uint64(P) ** np.uint64(place) for place, value in enumerate(view))
        views.append(scrambled(np.asarray(code)).sum(axis=4, dtype=np.uint64, keepdims=True))
    return views


def classes_that_differ(world: World) -> tuple[int, int]:
    """How many (G, A) belong to several updates, and for how many of them the views differ."""
    opened, view = distributions(world)
    pairs = np.unique(np.stack([opened.ravel(), view.ravel()]), axis=1)
    values, inputs = np.unique(opened.ravel(), return_counts=True)
    _, views = np.unique(pairs[0], return_counts=True)
    assert len(values) == len(views)
    return int((inputs > 1).sum()), int((views > 1).sum())


HONEST = [World(1, corrupt, False, (1, 1), "none", seed) for corrupt in range(4) for seed in range(3)]
COLLUDING = [World(d, corrupt, True, (0, 1), "none", seed) for d in (1, 2) for corrupt in range(4) for seed in range(2)]


@pytest.mark.parametrize("world", [*HONEST, World(2, 1, False, (1, 1), "none", 0)], ids=str)
def test_the_view_of_a_corrupt_validator_depends_on_gram_matrix_and_sum_alone(world: World) -> None:
    several, differ = classes_that_differ(world)

    assert several > 1
    assert differ == 0


@pytest.mark.soak
@pytest.mark.parametrize("corrupt", range(4))
def test_so_it_does_in_two_dimensions_for_every_validator(corrupt: int) -> None:
    several, differ = classes_that_differ(World(2, corrupt, False, (1, 1), "none", corrupt))

    assert several > 100
    assert differ == 0


def test_a_colluding_participant_adds_nothing_but_its_own_update() -> None:
    found = [classes_that_differ(world) for world in COLLUDING]

    assert sum(several for several, _ in found) > 80
    assert [differ for _, differ in found] == [0] * len(COLLUDING)


@pytest.mark.parametrize("leak", ["no masks", "masks of degree f alone", "a pad used again", "two weight vectors"])
def test_the_view_betrays_updates_when_the_protocol_is_broken(leak: Leak) -> None:
    assert any(classes_that_differ(World(1, corrupt, False, (1, 1), leak, 0))[1] for corrupt in range(4))


@pytest.mark.parametrize("leak", ["no masks", "masks of degree f alone", "a pad used again"])
def test_the_view_betrays_updates_to_a_colluder_when_the_protocol_is_broken(leak: Leak) -> None:
    assert any(classes_that_differ(World(2, corrupt, True, (0, 1), leak, 0))[1] for corrupt in range(4))
