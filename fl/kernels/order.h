/* Columns put into order in explicit vectors, included once for each instruction set. One law: the integers of sorting.
 *
 * Needs what `lanes.h` says. Rows are cut into two runs of at most 25, or into four of at most 32, and each run is
 * sorted in registers by Batcher's merge exchange; of four runs two and two are merged by his bitonic merge. Of two
 * sorted runs x and y of m words each, the t least together are min(x[k], y[t - 1 - k]), k < t, and no more need be known:
 * the middle is everything less its two ends; where one or two words are wanted, the greatest of the lower half and the
 * least of the upper.
 *
 * All networks are written for 32 places. Of fewer places, comparators with others are left out at compile time: the
 * network of n places is the first n of that of 32. Runs are filled up with the same number of least and of greatest
 * words, or one more of these, which leave the middle where it is.
 *
 * Source: Knuth, "The Art of Computer Programming", volume 3, 5.2.2, Algorithm M, and 5.3.4 for the bitonic merge.
 */

#ifndef NETWORKS
#define NETWORKS
#define EACH32(M)                                                                                                      \
    M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16) M(17) M(18) M(19)      \
        M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define SORT32(S)                                                                                                      \
    S(0, 16) S(1, 17) S(2, 18) S(3, 19) S(4, 20) S(5, 21) S(6, 22) S(7, 23) S(8, 24) S(9, 25) S(10, 26) S(11, 27)      \
        S(12, 28) S(13, 29) S(14, 30) S(15, 31) S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12) S(5, 13) S(6, 14) S(7, 15)  \
        S(16, 24) S(17, 25) S(18, 26) S(19, 27) S(20, 28) S(21, 29) S(22, 30) S(23, 31) S(8, 16) S(9, 17) S(10, 18)    \
        S(11, 19) S(12, 20) S(13, 21) S(14, 22) S(15, 23) S(0, 4) S(1, 5) S(2, 6) S(3, 7) S(8, 12) S(9, 13) S(10, 14)  \
        S(11, 15) S(16, 20) S(17, 21) S(18, 22) S(19, 23) S(24, 28) S(25, 29) S(26, 30) S(27, 31) S(4, 16) S(5, 17)    \
        S(6, 18) S(7, 19) S(12, 24) S(13, 25) S(14, 26) S(15, 27) S(4, 8) S(5, 9) S(6, 10) S(7, 11) S(12, 16)          \
        S(13, 17) S(14, 18) S(15, 19) S(20, 24) S(21, 25) S(22, 26) S(23, 27) S(0, 2) S(1, 3) S(4, 6) S(5, 7) S(8, 10) \
        S(9, 11) S(12, 14) S(13, 15) S(16, 18) S(17, 19) S(20, 22) S(21, 23) S(24, 26) S(25, 27) S(28, 30) S(29, 31)   \
        S(2, 16) S(3, 17) S(6, 20) S(7, 21) S(10, 24) S(11, 25) S(14, 28) S(15, 29) S(2, 8) S(3, 9) S(6, 12) S(7, 13)  \
        S(10, 16) S(11, 17) S(14, 20) S(15, 21) S(18, 24) S(19, 25) S(22, 28) S(23, 29) S(2, 4) S(3, 5) S(6, 8)        \
        S(7, 9) S(10, 12) S(11, 13) S(14, 16) S(15, 17) S(18, 20) S(19, 21) S(22, 24) S(23, 25) S(26, 28) S(27, 29)    \
        S(0, 1) S(2, 3) S(4, 5) S(6, 7) S(8, 9) S(10, 11) S(12, 13) S(14, 15) S(16, 17) S(18, 19) S(20, 21) S(22, 23)  \
        S(24, 25) S(26, 27) S(28, 29) S(30, 31) S(1, 16) S(3, 18) S(5, 20) S(7, 22) S(9, 24) S(11, 26) S(13, 28)       \
        S(15, 30) S(1, 8) S(3, 10) S(5, 12) S(7, 14) S(9, 16) S(11, 18) S(13, 20) S(15, 22) S(17, 24) S(19, 26)        \
        S(21, 28) S(23, 30) S(1, 4) S(3, 6) S(5, 8) S(7, 10) S(9, 12) S(11, 14) S(13, 16) S(15, 18) S(17, 20)          \
        S(19, 22) S(21, 24) S(23, 26) S(25, 28) S(27, 30) S(1, 2) S(3, 4) S(5, 6) S(7, 8) S(9, 10) S(11, 12) S(13, 14) \
        S(15, 16) S(17, 18) S(19, 20) S(21, 22) S(23, 24) S(25, 26) S(27, 28) S(29, 30)
/* A bitonic sequence into order. */
#define MERGE32(S)                                                                                                     \
    S(0, 16) S(1, 17) S(2, 18) S(3, 19) S(4, 20) S(5, 21) S(6, 22) S(7, 23) S(8, 24) S(9, 25) S(10, 26) S(11, 27)      \
        S(12, 28) S(13, 29) S(14, 30) S(15, 31) S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12) S(5, 13) S(6, 14) S(7, 15)  \
        S(16, 24) S(17, 25) S(18, 26) S(19, 27) S(20, 28) S(21, 29) S(22, 30) S(23, 31) S(0, 4) S(1, 5) S(2, 6)        \
        S(3, 7) S(8, 12) S(9, 13) S(10, 14) S(11, 15) S(16, 20) S(17, 21) S(18, 22) S(19, 23) S(24, 28) S(25, 29)      \
        S(26, 30) S(27, 31) S(0, 2) S(1, 3) S(4, 6) S(5, 7) S(8, 10) S(9, 11) S(12, 14) S(13, 15) S(16, 18) S(17, 19)  \
        S(20, 22) S(21, 23) S(24, 26) S(25, 27) S(28, 30) S(29, 31) S(0, 1) S(2, 3) S(4, 5) S(6, 7) S(8, 9) S(10, 11)  \
        S(12, 13) S(14, 15) S(16, 17) S(18, 19) S(20, 21) S(22, 23) S(24, 25) S(26, 27) S(28, 29) S(30, 31)
#define CASES(M)                                                                                                       \
    M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16) M(18) M(20) M(22) M(25)     \
        M(28) M(32)
#endif

#define SWAP(LEAST, MOST, i, j)                                                                                        \
    if (i >= from_place && j < to_place) {                                                                             \
        const V least_ = LEAST(x[i], x[j]);                                                                            \
        x[j] = MOST(x[i], x[j]);                                                                                       \
        x[i] = least_;                                                                                                 \
    }
#define SWAP_WORDS(i, j) SWAP(MIN, MAX, i, j)
#define SWAP_SUMS(i, j) SWAP(MIN32, MAX32, i, j)
#define TAKE(k)                                                                                                        \
    if (k < size)                                                                                                      \
        x[k] = LOAD(from[k] + column);
#define PUT(k)                                                                                                         \
    if (k < size)                                                                                                      \
        row[k] = x[k];
#define TAKE_LEAST(k)                                                                                                  \
    if (k >= from_place)                                                                                               \
        x[k] = LEAST_OF(row[k - from_place], row[31 + size - k]);
#define PUT_LEAST(k)                                                                                                   \
    if (k >= from_place)                                                                                               \
        out[k - from_place] = x[k];
#define TAKE_MOST(k)                                                                                                   \
    if (k < size)                                                                                                      \
        x[k] = MOST_OF(row[k], row[2 * size - 1 - k]);
#define PUT_MOST(k)                                                                                                    \
    if (k < size)                                                                                                      \
        out[size + k] = x[k];

/* Two or four runs of `size` rows each into two sorted halves, which stand one after the other in what is returned. */
#define HALVES(KIND, WORD, SWAPPING)                                                                                   \
    TARGET __attribute__((always_inline)) static inline void NAME(sort_##KIND)(const WORD *const *from, int column,    \
                                                                               V *row, const int size)                 \
    {                                                                                                                  \
        const int from_place = 0, to_place = size;                                                                     \
        V x[32];                                                                                                       \
        EACH32(TAKE)                                                                                                   \
        SORT32(SWAPPING)                                                                                               \
        EACH32(PUT)                                                                                                    \
    }                                                                                                                  \
    TARGET __attribute__((always_inline)) static inline void NAME(merge_##KIND)(const V *row, V *out, const int size)  \
    {                                                                                                                  \
        {                                                                                                              \
            const int from_place = 32 - size, to_place = 32;                                                           \
            V x[32];                                                                                                   \
            EACH32(TAKE_LEAST)                                                                                         \
            MERGE32(SWAPPING)                                                                                          \
            EACH32(PUT_LEAST)                                                                                          \
        }                                                                                                              \
        {                                                                                                              \
            const int from_place = 0, to_place = size;                                                                 \
            V x[32];                                                                                                   \
            EACH32(TAKE_MOST)                                                                                          \
            MERGE32(SWAPPING)                                                                                          \
            EACH32(PUT_MOST)                                                                                           \
        }                                                                                                              \
    }                                                                                                                  \
    TARGET __attribute__((always_inline)) static inline const V *NAME(halves_of_##KIND)(                               \
        const WORD *const *from, int column, V *row, V *out, int runs, const int size)                                 \
    {                                                                                                                  \
        for (int run = 0; run < runs; run++)                                                                           \
            NAME(sort_##KIND)(from + run * size, column, row + run * size, size);                                      \
        if (runs == 2)                                                                                                 \
            return row;                                                                                                \
        for (int run = 0; run < runs; run += 2)                                                                        \
            NAME(merge_##KIND)(row + run * size, out + run * size, size);                                              \
        return out;                                                                                                    \
    }                                                                                                                  \
    TARGET static const V *NAME(KIND##_in_halves)(const WORD *const *from, int column, V *row, V *out, int runs,       \
                                                  int size)                                                            \
    {                                                                                                                  \
        switch (size) {                                                                                                \
            CASES(CASE_##KIND)                                                                                         \
        }                                                                                                              \
        return row;                                                                                                    \
    }

#define CASE_words(n)                                                                                                  \
    case n:                                                                                                            \
        return NAME(halves_of_words)(from, column, row, out, runs, n);
#define CASE_sums(n)                                                                                                   \
    case n:                                                                                                            \
        return NAME(halves_of_sums)(from, column, row, out, runs, n);
#define LEAST_OF MIN
#define MOST_OF MAX
HALVES(words, int16_t, SWAP_WORDS)
#undef LEAST_OF
#undef MOST_OF
#define LEAST_OF MIN32
#define MOST_OF MAX32
HALVES(sums, int32_t, SWAP_SUMS)
#undef LEAST_OF
#undef MOST_OF

/* How rows are cut into runs and filled up. */
typedef struct {
    int rows, runs, size, below, drop;
} NAME(Shape);

static NAME(Shape) NAME(shape)(int rows, int drop)
{
    static const int sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 32};
    NAME(Shape) at = {rows, rows <= 50 ? 2 : 4, 0, 0, drop};
    for (int k = 0; at.runs * at.size < rows; k++)
        at.size = sizes[k];
    at.below = (at.runs * at.size - rows) / 2;
    return at;
}

/* The t least of both halves, or the t greatest, one after the other. */
TARGET __attribute__((always_inline)) static inline V NAME(end_word)(const V *half, int length, int t, int k,
                                                                    const int upper)
{
    const V *x = half, *y = half + length;
    return upper ? MAX(x[length - 1 - k], y[length - t + k]) : MIN(x[k], y[t - 1 - k]);
}

TARGET __attribute__((always_inline)) static inline V NAME(end_sum)(const V *half, int length, int t, int k,
                                                                   const int upper)
{
    const V *x = half, *y = half + length;
    return upper ? MAX32(x[length - 1 - k], y[length - t + k]) : MIN32(x[k], y[t - 1 - k]);
}

/* `unit` times the words k < t that WORD gives are added to `total`, two vectors of int32. Two 14-bit words fit an int16
 * lane together, what `few` sums does not. */
#define ADD_EACH(WORD)                                                                                                 \
    {                                                                                                                  \
        int k = 0;                                                                                                     \
        for (; are_words && k + 4 <= t; k += 4) {                                                                      \
            const V a = ADD16(WORD(k), WORD(k + 1)), b = ADD16(WORD(k + 2), WORD(k + 3));                              \
            total[0] = DOT(total[0], LOW(a, b), unit);                                                                 \
            total[1] = DOT(total[1], HIGH(a, b), unit);                                                                \
        }                                                                                                              \
        for (; k < t; k += 2) {                                                                                        \
            const V a = WORD(k), b = k + 1 < t ? WORD(k + 1) : FULL(0);                                                \
            total[0] = DOT(total[0], LOW(a, b), unit);                                                                 \
            total[1] = DOT(total[1], HIGH(a, b), unit);                                                                \
        }                                                                                                              \
    }

TARGET __attribute__((always_inline)) static inline void NAME(add_end)(const V *half, int length, int t,
                                                                      const int are_words, const int upper, V *total)
{
    const V unit = FULL(-1);
#define END_WORD(k) NAME(end_word)(half, length, t, k, upper)
    ADD_EACH(END_WORD)
#undef END_WORD
}

TARGET __attribute__((always_inline)) static inline void NAME(add_all)(const V *row, int t, const int are_words, V *total)
{
    const V unit = FULL(1);
#define ROW_WORD(k) row[k]
    ADD_EACH(ROW_WORD)
#undef ROW_WORD
}

/* Sum of the middle of each column of two halves, in int32. */
TARGET __attribute__((always_inline)) static inline void NAME(middle_words)(NAME(Shape) at, const V *half,
                                                                           const int are_words, int32_t *out)
{
    const int length = at.runs * at.size / 2, filled = 2 * length - at.rows, left = at.rows - 2 * at.drop;
    V total[2] = {FULL(0), FULL(0)};
    if (left <= 2) {
        V low = NAME(end_word)(half, length, length, 0, 0), high = NAME(end_word)(half, length, length, 0, 1);
        for (int k = 1; k < length; k++) {
            low = MAX(low, NAME(end_word)(half, length, length, k, 0));
            high = MIN(high, NAME(end_word)(half, length, length, k, 1));
        }
        const V second = left == 2 ? high : FULL(0), unit = FULL(1);
        total[0] = DOT(total[0], LOW(low, second), unit);
        total[1] = DOT(total[1], HIGH(low, second), unit);
    } else {
        NAME(add_all)(half, 2 * length, are_words, total);
        NAME(add_end)(half, length, at.drop + at.below, are_words, 0, total);
        NAME(add_end)(half, length, at.drop + filled - at.below, are_words, 1, total);
    }
    PAIRED(out, total[0], total[1]);
}

/* As middle_words, of half as many columns of int32; what rows are filled up with cancels out. */
TARGET static V NAME(middle_sums)(NAME(Shape) at, const int32_t *const *from, V *row, V *merged)
{
    const V *half = NAME(sums_in_halves)(from, 0, row, merged, at.runs, at.size);
    const int length = at.runs * at.size / 2;
    const int lower = at.drop + at.below, upper = at.drop + 2 * length - at.rows - at.below;
    V total = FULL32(0);
    for (int k = 0; k < 2 * length; k++)
        total = ADD32(total, half[k]);
    for (int k = 0; k < lower; k++)
        total = SUB32(total, NAME(end_sum)(half, length, lower, k, 0));
    for (int k = 0; k < upper; k++)
        total = SUB32(total, NAME(end_sum)(half, length, upper, k, 1));
    return total;
}

/* As `foedus_middle`. */
TARGET static void NAME(middle)(const int16_t *words, int64_t stride, int rows, int64_t columns, int drop, int32_t *out)
{
    V row[ROWS_MAX], merged[ROWS_MAX];
    int16_t last[ROWS_MAX][WIDTH], least_row[NEAR], greatest_row[NEAR];
    const NAME(Shape) at = NAME(shape)(rows, drop);
    const int16_t *from[ROWS_MAX];
    for (int k = 0; k < NEAR; k++) {
        least_row[k] = -WORD_MAX;
        greatest_row[k] = WORD_MAX;
    }
    for (int k = 0; k < at.runs * at.size; k++)
        from[k] = k < at.below ? least_row : greatest_row;
    for (int64_t begin = 0; begin < columns; begin += NEAR) {
        const int length = (int)least(NEAR, columns - begin), whole = length - length % WIDTH;
        for (int k = 0; k < rows; k++)
            from[at.below + k] = words + k * stride + begin;
        for (int column = 0; column < whole; column += WIDTH) {
            for (int k = 0; k < rows && rows > STREAMS; k++)
                NEAR_SOON(from[at.below + k] + column + AHEAD);
            NAME(middle_words)(at, NAME(words_in_halves)(from, column, row, merged, at.runs, at.size), 1,
                               out + begin + column);
        }
        if (whole < length) {
            int32_t total[WIDTH];
            for (int k = 0; k < rows; k++)
                from[at.below + k] = memcpy(last[k], from[at.below + k] + whole, sizeof(int16_t) * (size_t)(length - whole));
            NAME(middle_words)(at, NAME(words_in_halves)(from, 0, row, merged, at.runs, at.size), 1, total);
            memcpy(out + begin + whole, total, sizeof(int32_t) * (size_t)(length - whole));
        }
    }
}

#undef SWAP
#undef SWAP_WORDS
#undef SWAP_SUMS
#undef TAKE
#undef PUT
#undef TAKE_LEAST
#undef PUT_LEAST
#undef TAKE_MOST
#undef PUT_MOST
#undef HALVES
#undef CASE_words
#undef CASE_sums
