"""The compiled passes give numpy's integers, and an installation does without them where it must."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from numpy.typing import NDArray

from fl.aggregators import Aggregation, ClipFactor, RuleSpec, Work, aggregate
from fl.aggregators.clip import scale_into, scale_words
from fl.aggregators.order_statistics import network_table
from fl.grid import MODEL_WORD_MAX, MODEL_WORD_MIN, WORD_MAX, add_aggregate, quantise_values
from fl.kernels import ROWS_MAX, Library, library, without_library
from fl.schema import Segment

ROOT = Path(__file__).parents[2]
SIZES = (1, 2, 3, 4, 5, 8, 13, 32, 63, 64, 65, 100, 127, 128, 129, 200)
SIZES_SORTED = (
    *range(1, 20),
    31,
    32,
    33,
    34,
    36,
    37,
    40,
    43,
    44,
    47,
    50,
    51,
    53,
    64,
    65,
    73,
    88,
    96,
    100,
    101,
    113,
    127,
    128,
)
"""Every size of a run, in two runs and in four, filled up and not."""

RULES = (
    RuleSpec("weighted-mean/1", 0),
    RuleSpec("median/1", 0),
    RuleSpec("trimmed-mean/1", 0),
    RuleSpec("trimmed-mean/1", 0, pre=("nnm/1",)),
    RuleSpec("multi-krum/1", 0, pre=("arc/1",)),
    RuleSpec("trimmed-mean/1", 0, pre=("arc/1", "nnm/1")),
)


@pytest.fixture(scope="module")
def compiled() -> Library:
    found = library()
    if found is None:
        pytest.skip("the kernels are not compiled here: is there a C compiler?")
    return found


def words_of(seed: int, shape: tuple[int, int]) -> NDArray[np.int16]:
    """Words of every size, many of them equal, at the ends or 0."""
    dice = np.random.default_rng(seed)
    words = dice.integers(-WORD_MAX, WORD_MAX + 1, shape).astype(np.int16)
    words[dice.random(shape) < 0.2] = WORD_MAX
    words[dice.random(shape) < 0.2] = -WORD_MAX
    words[dice.random(shape) < 0.1] = 0
    return words


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("spec", RULES, ids=lambda spec: "+".join((spec.rule, *spec.pre)))
def test_every_rule_gives_the_same_integers_with_and_without_compiled_code(spec: RuleSpec, count: int) -> None:
    f = max(0, (count - 3) // 3)
    columns = 1 + (count * 37) % 301
    whole = words_of(count, (count, columns + 7))
    cut = columns // 2
    segments = (Segment(0, cut, -3), Segment(cut, columns, 2)) if cut else (Segment(0, columns, 0),)
    words = whole[:, 3 : 3 + columns]

    def result() -> tuple[object, ...]:
        done = aggregate(
            structs.replace(spec, f=f),
            words,
            range(1, count + 1),
            segments,
            clip_norm=40_000,
            work=Work(chunk_words=41 * count),
        )
        return done.numerator.tolist(), done.norms_squared, done.peaks, done.retained, done.clip_factors

    if spec.rule == "multi-krum/1" and count < 2 * f + 3:
        pytest.skip("multi-Krum needs more rows")
    here = result()
    with without_library():
        assert result() == here


@pytest.mark.parametrize("fill", [WORD_MAX, -WORD_MAX])
def test_long_rows_of_the_largest_words_do_not_overflow(compiled: Library, fill: int) -> None:
    words = np.full((3, 300_001), fill, np.int16)

    peaks, squares = compiled.survey(words)

    assert peaks == [WORD_MAX] * 3
    assert squares == [WORD_MAX**2 * 300_001] * 3
    assert np.triu(compiled.gram(words)).tolist() == np.triu(np.full((3, 3), WORD_MAX**2 * 300_001)).tolist()
    assert set(compiled.middle_sum(np.repeat(words[:1], ROWS_MAX, 0), 0, np.empty((0, 3), np.int32)).tolist()) == {
        fill * ROWS_MAX
    }


@pytest.fixture(params=[512, 256, 0], ids=["all vectors", "no AVX-512", "no explicit vectors"])
def lanes(request: pytest.FixtureRequest, compiled: Library) -> Iterator[Library]:
    """The compiled code as on a processor with less."""
    compiled.limit_lanes(request.param)
    yield compiled
    compiled.limit_lanes(512)


@pytest.mark.parametrize("count", SIZES_SORTED)
def test_every_instruction_set_gives_the_integers_of_plain_sorting_and_sums(lanes: Library, count: int) -> None:
    """All padded sizes, columns that fill no vector, neighbourhoods that lack few rows and many."""
    for columns in (1, 31, 33, 100):
        words = words_of(1000 * count + columns, (count, columns))
        wide = words.astype(np.int64)
        dice = np.random.default_rng(count)
        for drop in {0, (count - 1) // 4, (count - 1) // 2}:
            table = network_table(count, drop)
            middle = np.sort(wide, axis=0)[drop : count - drop].sum(axis=0)
            assert lanes.middle_sum(words, drop, table).tolist() == middle.tolist()
            for lacking in {0, 1, 4, count // 3} & set(range(count)):
                outside = [sorted(dice.choice(count, lacking, replace=False).tolist()) for _ in range(count)]
                mixed = np.stack([wide.sum(axis=0) - wide[rows].sum(axis=0) for rows in outside])
                sums = np.sort(mixed, axis=0)[drop : count - drop].sum(axis=0)
                assert lanes.middle_mixed_sum(words, drop, table, outside).tolist() == sums.tolist()
        assert np.triu(lanes.gram(words)).tolist() == np.triu(wide @ wide.T).tolist()
        shares = dice.integers(0, 32768 // count + 1, count)
        assert lanes.weighted_sum_32(words, shares.tolist()).tolist() == (shares @ wide).tolist()
        assert lanes.survey(words) == (np.abs(wide).max(axis=1).tolist(), (wide**2).sum(axis=1).tolist())


def test_no_instruction_set_overflows_on_long_rows_of_the_largest_words(lanes: Library) -> None:
    words = np.full((5, 70_001), WORD_MAX, np.int16)
    words[1] = -WORD_MAX

    assert lanes.survey(words) == ([WORD_MAX] * 5, [WORD_MAX**2 * 70_001] * 5)
    assert np.abs(np.triu(lanes.gram(words))).tolist() == np.triu(np.full((5, 5), WORD_MAX**2 * 70_001)).tolist()
    outside = [[other for other in range(5) if other != row] for row in range(5)]
    assert lanes.middle_mixed_sum(words, 1, network_table(5, 1), outside).tolist() == [3 * WORD_MAX] * 70_001


@pytest.mark.parametrize("spec", RULES, ids=lambda spec: "+".join((spec.rule, *spec.pre)))
def test_threads_change_no_bit(spec: RuleSpec) -> None:
    words = words_of(5, (9, 300_000))
    with_f = structs.replace(spec, f=2)
    segments = (Segment(0, 7, 0), Segment(7, 300_000, 2))

    alone = aggregate(with_f, words, [1] * 9, segments)
    with ThreadPoolExecutor(3) as threads:
        together = aggregate(with_f, words, [1] * 9, segments, work=Work(threads.map))

    assert together.numerator.tobytes() == alone.numerator.tobytes()
    assert facts(together) == facts(alone)


def facts(got: Aggregation) -> tuple[object, ...]:
    return got.denominator, got.norms_squared, got.peaks, got.retained, got.clip_factors


@given(st.lists(st.integers(-WORD_MAX, WORD_MAX), min_size=1), st.integers(2**15, 2**16 - 1), st.integers(15, 30))
def test_compiled_scaling_is_numpys(words: list[int], numerator: int, shift: int) -> None:
    row, factor = np.array(words, np.int16), ClipFactor(numerator, shift)
    out = np.empty_like(row)

    scale_into(row, factor, out)

    assert out.tolist() == scale_words(row, factor).tolist()


def test_a_word_out_of_range_is_noticed(compiled: Library) -> None:
    words = np.zeros((2, 9_000), np.int16)
    words[1, 8_999] = -32_768

    assert compiled.survey(words)[0] == [0, 32_768]


def nearest(model: Sequence[int], numerator: Sequence[int], scale: Fraction, denominator: int) -> list[int]:
    """The exact sum, rounded half-even by Python, within a model's words."""
    exact = [round(base + Fraction(part) * scale / denominator) for base, part in zip(model, numerator, strict=True)]
    return [min(max(word, MODEL_WORD_MIN), MODEL_WORD_MAX) for word in exact]


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("shift", [-13, -3, 0, 1, 7, 18])
@pytest.mark.parametrize("denominator", [1, 2, 3, 6, 10, 77, 1 << 15, 100 * 99])
@pytest.mark.parametrize("wide", [False, True])
def test_one_division_rounded_half_even_on_the_sum(shift: int, denominator: int, *, wide: bool) -> None:
    dice = np.random.default_rng(denominator * 100 + shift)
    bound = min(WORD_MAX * denominator, 2**31 - 1)
    numerator: NDArray[np.int32] | NDArray[np.int64] = dice.integers(-bound, bound + 1, 1_000)
    if not wide:
        numerator = numerator.astype(np.int32)
    numerator[:500] //= max(1, bound // 50)  # small ones tie often
    model = dice.integers(-(2**31), 2**31, 1_000).astype(np.int32)
    model[:750] //= 2**20
    expected = nearest(model.tolist(), numerator.tolist(), Fraction(2) ** shift, denominator)
    outside = sum(
        not MODEL_WORD_MIN <= round(base + Fraction(part) * Fraction(2) ** shift / denominator) <= MODEL_WORD_MAX
        for base, part in zip(model.tolist(), numerator.tolist(), strict=True)
    )
    again = model.copy()

    assert add_aggregate(model, numerator, denominator, shift) == outside
    assert model.tolist() == expected
    with without_library():
        assert add_aggregate(again, numerator, denominator, shift) == outside
    assert again.tolist() == expected


def built(tmp_path: Path, compiler: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "fl" / "kernels").mkdir(parents=True)
    for source in (ROOT / "fl" / "kernels").glob("*.[ch]"):
        shutil.copy(source, tmp_path / "fl" / "kernels")
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    command = [sys.executable, str(tmp_path / "hatch_build.py")]
    environment = {**os.environ, "CC": compiler}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_installation_without_a_compiler_says_so_and_runs_on_numpy(tmp_path: Path) -> None:
    done = built(tmp_path, "no-such-compiler")

    assert done.returncode == 1
    assert "aggregation will run on numpy" in done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_an_installation_with_a_compiler_has_the_kernels(tmp_path: Path) -> None:
    assert built(tmp_path, "cc").returncode == 0
    assert (tmp_path / "fl" / "kernels" / "_exact.so").stat().st_size > 10_000


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1_000])
@pytest.mark.parametrize("shift", [-20, 0, 13, 60, 512])
def test_words_of_a_difference_are_numpys(compiled: Library, size: int, shift: int) -> None:
    dice = np.random.default_rng([size, shift + 100])
    base = dice.standard_normal(size, np.float32)
    small_and_large = np.ldexp(dice.standard_normal(size, np.float32), dice.integers(-40, 4, size))
    trained = (base + small_and_large).astype(np.float32)
    trained[dice.random(size) < 0.2] = np.float32(0.5)
    base[dice.random(size) < 0.2] = np.float32(0)
    difference = trained.astype(np.float64) - base.astype(np.float64)
    expected, words = np.empty(size, np.int16), np.empty(size, np.int16)

    cut, squares = compiled.quantise(trained, base, 2.0**shift, WORD_MAX, words)

    assert cut == quantise_values(difference.copy(), shift, expected)
    assert words.tolist() == expected.tolist()
    assert squares == pytest.approx(float(np.square(difference).sum()), rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_squared_length(compiled: Library, bad: float) -> None:
    trained, base = np.zeros(200, np.float32), np.zeros(200, np.float32)
    trained[130] = bad

    _, squares = compiled.quantise(trained, base, 1.0, WORD_MAX, np.empty(200, np.int16))

    assert not np.isfinite(squares)
