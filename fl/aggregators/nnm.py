"""Nearest-neighbour mixing (NNM). One law: a mixed row is a sum of n - f rows, of which at least n - 2f are honest.

Formula: v_i = the sum of u_j over the n - f rows j nearest to i, itself included, ties to the lower row; over n - f.
Breakdown point: that of the rule behind it, whose error under heterogeneous data it brings to the optimal order.
Minimum n: 2f + 1.
Source: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by Mixing: A Recipe for Optimal Byzantine ML
under Heterogeneity", AISTATS 2023.
Differs from it in: integers; sums are kept and n - f joins the final denominator, so nothing is rounded. A linear
rule behind it is carried out on the rows themselves, with coefficients that count how often a row is mixed in.
Cost: O(n^2 d) for the Gram matrix, O(n f d) for the mixing.
"""

from fl.aggregators.gram import Gram, squared_distances
from fl.aggregators.mixing import Mixing


def nearest_neighbourhoods(gram: Gram, f: int) -> Mixing:
    """Return, per row, the n - f rows nearest to it, in ascending order of row.

    Args:
        gram: n x n.
        f: 0 <= f < n.
    """
    size = len(gram) - f
    members = tuple(
        tuple(sorted(sorted(range(len(line)), key=line.__getitem__)[:size])) for line in squared_distances(gram)
    )
    return Mixing(members, (1,) * len(gram), size)
