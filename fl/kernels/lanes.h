/* The hot passes in explicit vectors, included once for each instruction set. One law: the same integers as `exact.c`.
 *
 * The includer defines NAME(x), TARGET, WIDTH (int16 lanes of a vector) and, for vectors of them:
 *   V          the type                     LOAD STORE        unaligned
 *   MIN MAX    of int16 lanes               MIN32 MAX32       of int32 lanes
 *   ADD16 ADD32                             SUB16 SUB32
 *   FULL(x)    x in every int16 lane        FULL32(x)         x in every int32 lane
 *   PLUS64(t, a)  t + a in int64 lanes, a in int32 lanes of which two go into one; TOTAL64(t) all of them
 *   DOT(t,a,b) t + a0 b0 + a1 b1 in int32 lanes, for pairs of int16 lanes
 *   LOW HIGH   neighbours of two vectors side by side, in the order that PAIRED undoes
 *   PAIRED(out, lo, hi)  writes WIDTH int32 in the order of columns
 *   WIDE(out, x)         adds WIDTH int16 to int32 at out
 *
 * Sorting: runs of 16 rows are sorted in registers by Batcher's odd-even merge sort, then merged by his bitonic merges; the
 * last of which stops at its halves when only their extremes are wanted.
 */

#define SWAP(TYPE_MIN, TYPE_MAX, i, j)                                                                                 \
    {                                                                                                                  \
        const V low_ = TYPE_MIN(x[i], x[j]);                                                                           \
        x[j] = TYPE_MAX(x[i], x[j]);                                                                                   \
        x[i] = low_;                                                                                                   \
    }

#define LOAD16                                                                                                         \
    V x[16] = {LOAD(from[0]),  LOAD(from[1]),  LOAD(from[2]),  LOAD(from[3]),  LOAD(from[4]),  LOAD(from[5]),          \
               LOAD(from[6]),  LOAD(from[7]),  LOAD(from[8]),  LOAD(from[9]),  LOAD(from[10]), LOAD(from[11]),         \
               LOAD(from[12]), LOAD(from[13]), LOAD(from[14]), LOAD(from[15])};
#define STORE16                                                                                                        \
    STORE(row[0], x[0]);                                                                                               \
    STORE(row[1], x[1]);                                                                                               \
    STORE(row[2], x[2]);                                                                                               \
    STORE(row[3], x[3]);                                                                                               \
    STORE(row[4], x[4]);                                                                                               \
    STORE(row[5], x[5]);                                                                                               \
    STORE(row[6], x[6]);                                                                                               \
    STORE(row[7], x[7]);                                                                                               \
    STORE(row[8], x[8]);                                                                                               \
    STORE(row[9], x[9]);                                                                                               \
    STORE(row[10], x[10]);                                                                                             \
    STORE(row[11], x[11]);                                                                                             \
    STORE(row[12], x[12]);                                                                                             \
    STORE(row[13], x[13]);                                                                                             \
    STORE(row[14], x[14]);                                                                                             \
    STORE(row[15], x[15]);

/* Batcher's odd-even merge sort of 8 and 16 places, in layers. */
#define LAYER8(S, o)                                                                                                   \
    S(o + 0, o + 1) S(o + 2, o + 3) S(o + 4, o + 5) S(o + 6, o + 7) S(o + 0, o + 2) S(o + 1, o + 3) S(o + 4, o + 6)    \
        S(o + 5, o + 7) S(o + 1, o + 2) S(o + 5, o + 6) S(o + 0, o + 4) S(o + 1, o + 5) S(o + 2, o + 6) S(o + 3, o + 7) \
            S(o + 2, o + 4) S(o + 3, o + 5) S(o + 1, o + 2) S(o + 3, o + 4) S(o + 5, o + 6)
#define SORT16(S)                                                                                                      \
    LAYER8(S, 0)                                                                                                       \
    LAYER8(S, 8)                                                                                                       \
    S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12) S(5, 13) S(6, 14) S(7, 15) S(4, 8) S(5, 9) S(6, 10) S(7, 11) S(2, 4)    \
        S(3, 5) S(6, 8) S(7, 9) S(10, 12) S(11, 13) S(1, 2) S(3, 4) S(5, 6) S(7, 8) S(9, 10) S(11, 12) S(13, 14)
/* A bitonic sequence of 16 places into order. */
#define MERGE16(S)                                                                                                     \
    S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12) S(5, 13) S(6, 14) S(7, 15) S(0, 4) S(1, 5) S(2, 6) S(3, 7) S(8, 12)     \
        S(9, 13) S(10, 14) S(11, 15) S(0, 2) S(1, 3) S(4, 6) S(5, 7) S(8, 10) S(9, 11) S(12, 14) S(13, 15) S(0, 1)     \
            S(2, 3) S(4, 5) S(6, 7) S(8, 9) S(10, 11) S(12, 13) S(14, 15)

#define SWAP_WORDS(i, j) SWAP(MIN, MAX, i, j)
#define SWAP_SUMS(i, j) SWAP(MIN32, MAX32, i, j)

#define SORTER(FUNCTION, NETWORK, SWAPPING)                                                                            \
    TARGET static void NAME(FUNCTION)(const void **from, void **row)                                                   \
    {                                                                                                                  \
        LOAD16 NETWORK(SWAPPING) STORE16                                                                               \
    }

SORTER(sort16_words, SORT16, SWAP_WORDS)
SORTER(merge16_words, MERGE16, SWAP_WORDS)
SORTER(sort16_sums, SORT16, SWAP_SUMS)
SORTER(merge16_sums, MERGE16, SWAP_SUMS)

/* As sort16, of the places `below`..`end` alone: comparators with another place would change nothing. */
#define SWAP_NEAR(i, j)                                                                                                \
    if (i >= below && j < end)                                                                                         \
        SWAP(MIN, MAX, i, j)
#define LOAD_NEAR(k)                                                                                                   \
    if (k >= below && k < end)                                                                                         \
        x[k] = LOAD(from[k]);
#define STORE_NEAR(k)                                                                                                  \
    if (k >= below && k < end)                                                                                         \
        STORE(row[k], x[k]);
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

TARGET __attribute__((always_inline)) static inline void NAME(sort_near)(const void **from, void **row, const int below,
                                                                        const int end)
{
    V x[16];
    EACH(LOAD_NEAR)
    SORT16(SWAP_NEAR)
    EACH(STORE_NEAR)
}

#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        NAME(sort_near)(from, row, (16 - n) / 2, (16 - n) / 2 + n);                                                    \
        break;

TARGET static void NAME(sort_few)(const void **from, void **row, int rows)
{
    switch (rows) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
        CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
    }
}

/* Rows of vectors in ascending order: `count` is 16 times a power of two; `row`, where they go, may be permuted. When
 * `halves`, the lower half is only known to be below the upper one. */
#define RUNS(FUNCTION, SORT, MERGE, LEAST, MOST)                                                                       \
    TARGET static void NAME(FUNCTION)(const void **from, void **row, int count, int halves)                            \
    {                                                                                                                  \
        for (int begin = 0; begin < count; begin += 16)                                                                \
            NAME(SORT)(from + begin, row + begin);                                                                     \
        for (int size = 16; size < count; size *= 2) {                                                                 \
            for (int begin = 0; begin < count; begin += 2 * size) {                                                    \
                void **low = row + begin, **high = low + size;                                                         \
                for (int k = 0; k < size / 2; k++) {                                                                   \
                    void *other = high[k];                                                                             \
                    high[k] = high[size - 1 - k];                                                                      \
                    high[size - 1 - k] = other;                                                                        \
                }                                                                                                      \
                for (int step = size; step >= 16; step /= 2) {                                                         \
                    for (int part = 0; part < 2 * size; part += 2 * step) {                                            \
                        for (int k = part; k < part + step; k++) {                                                     \
                            const V a = LOAD(low[k]), b = LOAD(low[k + step]);                                         \
                            STORE(low[k], LEAST(a, b));                                                                \
                            STORE(low[k + step], MOST(a, b));                                                          \
                        }                                                                                              \
                    }                                                                                                  \
                    if (halves && 2 * size == count)                                                                   \
                        return;                                                                                        \
                }                                                                                                      \
                for (int part = 0; part < 2 * size; part += 16)                                                        \
                    NAME(MERGE)((const void **)(low + part), low + part);                                              \
            }                                                                                                          \
        }                                                                                                              \
    }

RUNS(order_words, sort16_words, merge16_words, MIN, MAX)
RUNS(order_sums, sort16_sums, merge16_sums, MIN32, MAX32)

/* Sum of the middle rows: four 14-bit words fit an int16 lane, sums of words do not. */
TARGET static void NAME(sum_words)(void **row, int begin, int end, int are_words, int32_t *out)
{
    memset(out, 0, sizeof(int32_t) * WIDTH);
    int k = begin;
    for (; are_words && k + 4 <= end; k += 4) {
        const V pair = ADD16(LOAD(row[k]), LOAD(row[k + 1]));
        WIDE(out, ADD16(pair, ADD16(LOAD(row[k + 2]), LOAD(row[k + 3]))));
    }
    for (; k < end; k++)
        WIDE(out, LOAD(row[k]));
}

/* How rows are padded to a power of two, the same number of least and greatest ones, so that the middle stays there. */
typedef struct {
    int rows, size, below, begin, end, halves;
} NAME(Places);

static NAME(Places) NAME(places)(int rows, int drop)
{
    NAME(Places) at = {rows, 16, 0, 0, 0, 0};
    while (at.size < rows)
        at.size *= 2;
    at.below = (at.size - rows) / 2;
    at.begin = at.below + drop;
    at.end = at.below + rows - drop;
    at.halves = at.size > 16 && at.begin >= at.size / 2 - 1 && at.end <= at.size / 2 + 1;
    return at;
}

/* Of two halves put the greatest of the lower and the least of the upper where they belong. */
#define EXTREMES(LEAST, MOST)                                                                                          \
    {                                                                                                                  \
        V most = LOAD(row[0]), fewest = LOAD(row[at.size / 2]);                                                        \
        for (int k = 1; k < at.size / 2; k++) {                                                                        \
            most = MOST(most, LOAD(row[k]));                                                                           \
            fewest = LEAST(fewest, LOAD(row[at.size / 2 + k]));                                                        \
        }                                                                                                              \
        STORE(row[at.size / 2 - 1], most);                                                                             \
        STORE(row[at.size / 2], fewest);                                                                               \
    }

TARGET static void NAME(middle_words)(NAME(Places) at, const void **from, int16_t (*room)[WIDTH], int are_words,
                                      int32_t *total)
{
    void *row[ROWS_MAX] = {room[0]};
    for (int k = 0; k < at.size; k++)
        row[k] = room[k];
    if (at.size == 16)
        NAME(sort_few)(from, row, at.rows);
    else
        NAME(order_words)(from, row, at.size, at.halves);
    if (at.halves)
        EXTREMES(MIN, MAX)
    NAME(sum_words)(row, at.begin, at.end, are_words, total);
}

/* As `foedus_middle`. */
TARGET static void NAME(middle)(const int16_t *words, int64_t stride, int rows, int64_t columns, int drop, int32_t *out)
{
    int16_t room[ROWS_MAX][WIDTH] __attribute__((aligned(64))), least_row[WIDTH], greatest_row[WIDTH];
    const NAME(Places) at = NAME(places)(rows, drop);
    const void *from[ROWS_MAX];
    STORE(least_row, FULL(INT16_MIN));
    STORE(greatest_row, FULL(INT16_MAX));
    for (int k = 0; k < at.size; k++)
        from[k] = k < at.below ? least_row : greatest_row;
    for (int64_t begin = 0; begin < columns; begin += WIDTH) {
        const int64_t length = least(WIDTH, columns - begin);
        int32_t total[WIDTH];
        for (int k = 0; k < rows; k++) {
            const int16_t *line = words + k * stride + begin;
            from[at.below + k] = line;
            __builtin_prefetch(line + AHEAD);
            if (length < WIDTH) {
                memset(room[at.below + k], 0, sizeof room[0]);
                from[at.below + k] = memcpy(room[at.below + k], line, sizeof(int16_t) * (size_t)length);
            }
        }
        NAME(middle_words)(at, from, room, 1, total);
        memcpy(out + begin, total, sizeof(int32_t) * (size_t)length);
    }
}

/* Sum of some rows: in words where four at most are summed, in int32 otherwise. */
TARGET static V NAME(few)(const int16_t (*line)[WIDTH], const int32_t *listed, int count)
{
    V sum = FULL(0);
    for (int k = 0; k < count; k++)
        sum = ADD16(sum, LOAD(line[listed[k]]));
    return sum;
}

TARGET static void NAME(many)(const int16_t (*line)[WIDTH], const int32_t *listed, int count, int32_t *out)
{
    memset(out, 0, sizeof(int32_t) * WIDTH);
    for (int k = 0; k < count; k += 4)
        WIDE(out, NAME(few)(line, listed + k, count - k < 4 ? count - k : 4));
}

TARGET static void NAME(middle_sums)(NAME(Places) at, int32_t (*room)[WIDTH], int32_t *total)
{
    for (int half = 0; half < 2; half++) {
        void *row[ROWS_MAX];
        for (int k = 0; k < at.size; k++) {
            row[k] = room[k] + half * (WIDTH / 2);
            if (k < at.below || k >= at.begin + at.end - at.below)
                STORE(row[k], FULL32(k < at.below ? INT32_MIN : INT32_MAX));
        }
        NAME(order_sums)((const void **)row, row, at.size, at.halves);
        if (at.halves)
            EXTREMES(MIN32, MAX32)
        V sum = FULL32(0);
        for (int k = at.begin; k < at.end; k++)
            sum = ADD32(sum, LOAD(row[k]));
        STORE(total + half * (WIDTH / 2), sum);
    }
}

/* As `foedus_middle_mixed`. All rows less some are in descending order when those few are in ascending order. */
TARGET static void NAME(mixed)(const int16_t *words, int64_t stride, int rows, int64_t columns, int drop,
                               const int32_t *outside, const int32_t *first, int32_t *out)
{
    int16_t line[ROWS_MAX][WIDTH] __attribute__((aligned(64))), room[ROWS_MAX][WIDTH] __attribute__((aligned(64)));
    int32_t sums[ROWS_MAX][WIDTH] __attribute__((aligned(64)));
    const NAME(Places) at = NAME(places)(rows, drop);
    const void *from[ROWS_MAX];
    int32_t everybody[ROWS_MAX];
    int largest = 0;
    for (int k = 0; k < rows; k++) {
        everybody[k] = k;
        largest = first[k + 1] - first[k] > largest ? first[k + 1] - first[k] : largest;
    }
    for (int64_t begin = 0; begin < columns; begin += WIDTH) {
        const int64_t length = least(WIDTH, columns - begin);
        int32_t total[WIDTH], whole[WIDTH];
        for (int k = 0; k < rows; k++) {
            if (length < WIDTH)
                memset(line[k], 0, sizeof line[0]);
            __builtin_prefetch(words + k * stride + begin + AHEAD);
            memcpy(line[k], words + k * stride + begin, sizeof(int16_t) * (size_t)length);
        }
        for (int k = 0; largest <= 4 && k < at.size; k++) {
            const int i = k - at.below;
            const V few = i >= 0 && i < rows ? NAME(few)(line, outside + first[i], first[i + 1] - first[i])
                                             : FULL(i < 0 ? INT16_MIN : INT16_MAX);
            STORE(room[k], few);
            from[k] = room[k];
        }
        for (int k = 0; largest > 4 && k < rows; k++)
            NAME(many)(line, outside + first[k], first[k + 1] - first[k], sums[at.below + k]);
        if (largest <= 4)
            NAME(middle_words)(at, from, room, largest <= 1, total);
        else
            NAME(middle_sums)(at, sums, total);
        NAME(many)(line, everybody, rows, whole);
        for (int k = 0; k < WIDTH; k++)
            total[k] = (rows - 2 * drop) * whole[k] - total[k];
        memcpy(out + begin, total, sizeof(int32_t) * (size_t)length);
    }
}

/* Sixteen inner products of four rows with four rows. Sixteen sums of two products of words fit int32. */
TARGET static void NAME(dot_four)(const int16_t *const *a, const int16_t *const *b, int64_t length, int64_t *out)
{
    const int64_t piece = 16 * WIDTH, rest = length % WIDTH, from = length - rest;
    V wide[16];
#define CLEAR_WIDE(p) wide[p] = FULL(0);
#define CLEAR(p) sum[p] = FULL(0);
#define ADD_PRODUCTS(p) sum[p] = DOT(sum[p], x[(p) / 4], y[(p) % 4]);
#define ADD_WIDE(p) wide[p] = PLUS64(wide[p], sum[p]);
#define TAKE(p) out[p] = TOTAL64(wide[p]);
    EACH(CLEAR_WIDE)
    for (int64_t begin = 0; begin < from; begin += piece) {
        const int64_t end = begin + least(piece, from - begin);
        V sum[16];
        EACH(CLEAR)
        for (int64_t k = begin; k < end; k += WIDTH) {
            const V x[4] = {LOAD(a[0] + k), LOAD(a[1] + k), LOAD(a[2] + k), LOAD(a[3] + k)};
            const V y[4] = {LOAD(b[0] + k), LOAD(b[1] + k), LOAD(b[2] + k), LOAD(b[3] + k)};
            EACH(ADD_PRODUCTS)
        }
        EACH(ADD_WIDE)
    }
    EACH(TAKE)
    for (int place = 0; rest && place < 16; place++)
        out[place] += dot_plain(a[place / 4] + from, b[place % 4] + from, rest);
#undef CLEAR_WIDE
#undef CLEAR
#undef ADD_PRODUCTS
#undef ADD_WIDE
#undef TAKE
}

TARGET static void NAME(gram)(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t *gram)
{
    for (int64_t begin = 0; begin < columns; begin += GRAM_BLOCK) {
        const int64_t length = least(GRAM_BLOCK, columns - begin);
        for (int64_t i = 0; i < rows; i += 4) {
            for (int64_t j = i; j < rows; j += 4) {
                const int16_t *a[4], *b[4];
                int64_t part[16];
                for (int k = 0; k < 4; k++) {
                    a[k] = words + least(i + k, rows - 1) * stride + begin;
                    b[k] = words + least(j + k, rows - 1) * stride + begin;
                }
                NAME(dot_four)(a, b, length, part);
                for (int place = 0; place < 16; place++) {
                    const int64_t one = i + place / 4, other = j + place % 4;
                    if (one <= other && other < rows)
                        gram[one * rows + other] += part[place];
                }
            }
        }
    }
}

/* As `foedus_weighted_32`, for coefficients below 2^15: products of two rows side by side. */
TARGET static void NAME(weighted)(const int16_t *words, int64_t stride, int64_t rows, int64_t columns,
                                  const int32_t *coefficients, int32_t *out)
{
    const int64_t whole = columns - columns % WIDTH;
    for (int64_t begin = 0; begin < whole; begin += WIDTH) {
        V low = FULL32(0), high = FULL32(0);
        for (int64_t row = 0; row < rows; row += 2) {
            const int has_two = row + 1 < rows;
            const uint32_t second = has_two ? (uint32_t)coefficients[row + 1] << 16 : 0;
            const V pair = FULL32((int32_t)(second | (uint32_t)coefficients[row]));
            const V a = LOAD(words + row * stride + begin), b = LOAD(words + (row + has_two) * stride + begin);
            __builtin_prefetch(words + row * stride + begin + AHEAD);
            __builtin_prefetch(words + (row + has_two) * stride + begin + AHEAD);
            low = DOT(low, LOW(a, b), pair);
            high = DOT(high, HIGH(a, b), pair);
        }
        PAIRED(out + begin, low, high);
    }
    for (int64_t k = whole; k < columns; k++) {
        int32_t total = 0;
        for (int64_t row = 0; row < rows; row++)
            total += coefficients[row] * words[row * stride + k];
        out[k] = total;
    }
}

/* Each row's extremes and sum of squares, in one read. */
TARGET static void NAME(survey)(const int16_t *line, int64_t columns, int16_t *highest, int16_t *lowest, int64_t *square)
{
    V high = FULL(0), low = FULL(0);
    V wide = FULL(0);
    int64_t k = 0;
    while (k + WIDTH <= columns) {
        const int64_t end = k + least(16 * WIDTH, (columns - k) / WIDTH * WIDTH);
        V sum = FULL(0);
        for (; k < end; k += WIDTH) {
            const V x = LOAD(line + k);
            high = MAX(high, x);
            low = MIN(low, x);
            sum = DOT(sum, x, x);
        }
        wide = PLUS64(wide, sum);
    }
    int16_t above[WIDTH], beneath[WIDTH];
    STORE(above, high);
    STORE(beneath, low);
    *highest = *lowest = 0;
    for (int lane = 0; lane < WIDTH; lane++) {
        *highest = above[lane] > *highest ? above[lane] : *highest;
        *lowest = beneath[lane] < *lowest ? beneath[lane] : *lowest;
    }
    for (int64_t rest = k; rest < columns; rest++) {
        *highest = line[rest] > *highest ? line[rest] : *highest;
        *lowest = line[rest] < *lowest ? line[rest] : *lowest;
    }
    *square = TOTAL64(wide) + dot_plain(line + k, line + k, columns - k);
}

#undef SWAP
#undef LOAD16
#undef STORE16
#undef LAYER8
#undef SORT16
#undef MERGE16
#undef SWAP_WORDS
#undef SWAP_SUMS
#undef SORTER
#undef RUNS
#undef EXTREMES
#undef SWAP_NEAR
#undef LOAD_NEAR
#undef STORE_NEAR
#undef EACH
#undef CASE
