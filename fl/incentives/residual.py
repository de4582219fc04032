"""What past global updates do not explain of the present ones. One law: exact, so nothing is divided.

The residual of an update x against the span of V is x - V K^-1 V'x; times det(K), its inner products are the integers
R = det(K) G - H adj(K) H' with K = V'V and H_ia = <x_i, V_a>.
"""

from __future__ import annotations

from collections.abc import Sequence

from fl.aggregators.gram import Gram

Matrix = Sequence[Sequence[int]]


def residual(gram: Gram, past: int) -> Gram:
    """Return the residual Gram matrix of the updates, times det(K).

    The oldest global updates that depend on later ones are left out: of the last h, the most recent k are used for
    which det(K) is positive.

    Args:
        gram: of n updates and then `past` global updates, the latest first.
        past: h, 0..3.
    """
    count = len(gram) - past
    for used in range(past, 0, -1):
        inner = [[gram[count + a][count + b] for b in range(used)] for a in range(used)]
        scale = determinant(inner)
        if scale > 0:
            return _residual(gram, count, used, scale, adjugate(inner))
    return tuple(tuple(line[:count]) for line in gram[:count])


def determinant(matrix: Matrix) -> int:
    """Return the determinant of a small matrix, by its first row."""
    if not matrix:
        return 1
    return sum((-1) ** column * value * determinant(minor(matrix, 0, column)) for column, value in enumerate(matrix[0]))


def adjugate(matrix: Matrix) -> list[list[int]]:
    """Return adj(M), for which M adj(M) = det(M) I."""
    places = range(len(matrix))
    return [[(-1) ** (row + column) * determinant(minor(matrix, column, row)) for column in places] for row in places]


def minor(matrix: Matrix, row: int, column: int) -> list[list[int]]:
    """Return a matrix without one row and one column."""
    return [[*line[:column], *line[column + 1 :]] for place, line in enumerate(matrix) if place != row]


def _residual(gram: Gram, count: int, used: int, scale: int, adjoint: Matrix) -> Gram:
    past = [gram[i][count : count + used] for i in range(count)]
    turned = [[sum(line[a] * adjoint[a][b] for a in range(used)) for b in range(used)] for line in past]
    return tuple(
        tuple(
            scale * gram[i][j] - sum(left * right for left, right in zip(turned[i], past[j], strict=True))
            for j in range(count)
        )
        for i in range(count)
    )
