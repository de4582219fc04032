"""What a validator says of pads and updates: scalars and one vector. One law: each share is linear in what is secret.

Products of two pads have degree 2f and are opened under a mask, before any update exists; all that follows has degree
f. Formulas, for validator j, participants k and l, z a pad's share, y = x - z(0) a posted ciphertext: product u =
<z_k(j), z_l(j)> + mask of degree 2f, which open to a constant C; Gram g = <y_k + z_k(j), y_l + z_l(j)> - <z_k(j),
z_l(j)> + C - mask of degree f, which open to <x_k, x_l>; sum M = sum of w_i z_i(j), whose value at 0 with sum of w_i
y_i is sum of w_i x_i; fold <r, M>; functional <s, z_i(j)>.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from fl.kernels.field import Elements
from fl.sealed.field import FIELD, Field
from fl.sealed.pads import CHUNK_WORDS, Stream, random_vector

FOLDS: Final = 2
"""A vector with a wrong element passes both folds with probability p^-2, about 2^-122."""


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Return the pairs of rows k <= l in the order in which their shares are posted."""
    return [(k, other) for k in range(count) for other in range(k, count)]


def upper(matrix: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the entries of a symmetric matrix in the order of `pairs_of`."""
    return tuple(matrix[k][other] for k, other in pairs_of(len(matrix)))


def symmetric(entries: Sequence[int], count: int) -> list[list[int]]:
    """Return the symmetric matrix whose entries are given in the order of `pairs_of`."""
    matrix = [[0] * count for _ in range(count)]
    for (k, other), entry in zip(pairs_of(count), entries, strict=True):
        matrix[k][other] = matrix[other][k] = entry
    return matrix


def pair_masks(field: Field, contributions: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[int, int]]:
    """Return a validator's shares of the mask of each pair: what the one dealer adds and what the other one does.

    Args:
        field: of the shares.
        contributions: per dealer, what `fl.sealed.pads.mask_shares` gives.

    Two honest participants' product is hidden by either one's randomness; a liar knows its own pad anyway, and the
    other's part hides what it does not know.
    """
    masks = []
    for k, other in pairs_of(len(contributions)):
        parts = [contributions[k][other]] if k == other else [contributions[k][other], contributions[other][k]]
        low, high = (sum(values) % field.modulus for values in zip(*parts, strict=True))
        masks.append((low, high))
    return masks


def product_shares(field: Field, bare: Sequence[int], masks: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Return the masked products that a validator posts.

    Args:
        field: of the shares.
        bare: the inner products of the validator's shares of all pads.
        masks: its shares of the masks.
    """
    return tuple((product + high) % field.modulus for product, (_, high) in zip(bare, masks, strict=True))


def gram_shares(
    field: Field,
    products: Sequence[int],
    bare: Sequence[int],
    constants: Sequence[int],
    masks: Sequence[tuple[int, int]],
) -> tuple[int, ...]:
    """Return a validator's shares of the Gram matrix of the updates.

    Args:
        field: of the shares.
        products: the inner products of y + z(j) of the participants that sent an update.
        bare: the validator's products of those pads.
        constants: what the masked products opened to.
        masks: the validator's shares of the masks.
    """
    return tuple(
        (product - own + constant - low) % field.modulus
        for product, own, constant, (low, _) in zip(products, bare, constants, masks, strict=True)
    )


def folds(field: Field, challenge: bytes, vectors: Sequence[Elements]) -> list[tuple[int, ...]]:
    """Return the inner products of each vector with the fold vectors, which nobody knew before the challenge.

    Args:
        field: of the shares.
        challenge: drawn after all vectors were committed to.
        vectors: of one length.
    """
    totals = [[0] * FOLDS for _ in vectors]
    size = len(vectors[0]) if vectors else 0
    streams = [Stream(field, challenge, b"fold%d" % number, size) for number in range(FOLDS)]
    for begin in range(0, size, CHUNK_WORDS):
        stop = min(begin + CHUNK_WORDS, size)
        for number, stream in enumerate(streams):
            drawn = stream.next(stop - begin)
            for total, vector in zip(totals, vectors, strict=True):
                total[number] = (total[number] + field.dot(drawn, vector[begin:stop])) % field.modulus
    return [tuple(total) for total in totals]


def coordinate_vector(size: int, coordinate: int) -> Elements:
    """Return the functional that reads one coordinate."""
    vector = np.zeros(size, np.uint64)
    vector[coordinate] = 1
    return vector


def sign_vector(challenge: bytes, number: int, size: int, field: Field) -> Elements:
    """Return a functional of random -1, 0 and 1, where 0 is twice as likely."""
    drawn = random_vector(FIELD, challenge, b"sign%d" % number, size) & np.uint64(3)
    drawn[drawn == 2] = 0
    drawn[drawn == 3] = field.modulus - 1
    return drawn
