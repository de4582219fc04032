"""The field's arithmetic beside Python's integers, with and without compiled code."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.kernels import without_library
from fl.kernels.field import Elements, field_library
from fl.sealed.field import FIELD, MERSENNE, Field

ELEMENTS = st.one_of(
    st.integers(0, MERSENNE - 1),
    st.sampled_from([0, 1, 2, MERSENNE - 1, MERSENNE - 2, 1 << 60, (1 << 31) - 1, 1 << 31]),
)
SIZES = (1, 2, 31, 32, 33, 511, 512, 513, 40_000)


@pytest.fixture(params=["compiled", "numpy"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "compiled" and field_library() is None:
        pytest.skip("the kernels are not compiled here: is there a C compiler?")
    with nullcontext() if request.param == "compiled" else without_library():
        yield request.param


def drawn(seed: int, shape: tuple[int, ...]) -> Elements:
    """Elements of every size, many of them at the ends."""
    dice = np.random.default_rng(seed)
    elements = dice.integers(0, MERSENNE, shape, np.uint64)
    elements[dice.random(shape) < 0.2] = MERSENNE - 1
    elements[dice.random(shape) < 0.1] = 0
    return elements


@pytest.mark.parametrize("size", SIZES)
def test_sums_products_and_scalings_are_those_of_integers_modulo_p(path: str, size: int) -> None:
    a, b = drawn(size, (2, size))
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    total = a.copy()
    FIELD.add_scaled(total, MERSENNE - 3, b)

    assert FIELD.add(a, b).tolist() == [(x + y) % MERSENNE for x, y in pairs]
    assert FIELD.subtract(a, b).tolist() == [(x - y) % MERSENNE for x, y in pairs]
    assert FIELD.multiply(a, b).tolist() == [x * y % MERSENNE for x, y in pairs]
    assert total.tolist() == [(x - 3 * y) % MERSENNE for x, y in pairs]
    assert FIELD.dot(a, b) == sum(x * y for x, y in pairs) % MERSENNE


@pytest.mark.parametrize("size", SIZES)
def test_inner_products_of_rows_are_those_of_integers_modulo_p(path: str, size: int) -> None:
    rows = drawn(size + 1, (4, size + 3))[:, 1 : size + 1]
    lists = rows.tolist()

    assert FIELD.gram(rows) == [
        [sum(x * y for x, y in zip(row, other, strict=True)) % MERSENNE for other in lists] for row in lists
    ]


@given(a=ELEMENTS, b=ELEMENTS)
def test_the_compiled_and_the_numpy_product_are_the_same_element(a: int, b: int) -> None:
    left, right = np.full(3, a, np.uint64), np.full(3, b, np.uint64)
    with without_library():
        expected = FIELD.dot(left, right), FIELD.multiply(left, right).tolist()

    assert (FIELD.dot(left, right), [a * b % MERSENNE] * 3) == expected


def test_words_are_cut_to_61_bits_and_what_is_no_element_is_counted(path: str) -> None:
    words = np.array([0, MERSENNE, MERSENNE - 1, 2**64 - 1, 2**61, 2**61 + 5], np.uint64)

    elements, beyond = FIELD.from_words(words)

    assert elements.tolist() == [0, MERSENNE, MERSENNE - 1, MERSENNE, 0, 5]
    assert beyond == 2


@given(st.lists(st.integers(-(MERSENNE // 2), MERSENNE // 2), min_size=1, max_size=20))
def test_an_integer_below_half_of_p_comes_back(integers: list[int]) -> None:
    elements = FIELD.from_integers(np.array(integers, np.int64))

    assert FIELD.to_integers(elements).tolist() == integers
    assert [FIELD.signed(element) for element in elements.tolist()] == integers


def test_small_primes_have_the_same_operations() -> None:
    seven = Field(7)
    a, b = np.arange(7, dtype=np.uint64), np.arange(7, dtype=np.uint64)[::-1].copy()

    assert seven.add(a, b).tolist() == [6] * 7
    assert seven.subtract(a, b).tolist() == [(x - (6 - x)) % 7 for x in range(7)]
    assert seven.dot(a, b) == sum(x * (6 - x) for x in range(7)) % 7
    assert [seven.inverse(x) * x % 7 for x in range(1, 7)] == [1] * 6
    with pytest.raises(ZeroDivisionError):
        seven.inverse(14)
