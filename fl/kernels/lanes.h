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
 * `order.h`, which sorts, comes before it.
 */

#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

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

/* As `foedus_middle_mixed`. All rows less some are in descending order when those few are in ascending order. */
TARGET static void NAME(mixed)(const int16_t *words, int64_t stride, int rows, int64_t columns, int drop,
                               const int32_t *outside, const int32_t *first, int32_t *out)
{
    int16_t line[ROWS_MAX][WIDTH] __attribute__((aligned(64)));
    int32_t sums[ROWS_MAX][WIDTH] __attribute__((aligned(64)));
    V room[ROWS_MAX], row[ROWS_MAX], merged[ROWS_MAX];
    const NAME(Shape) at = NAME(shape)(rows, drop);
    const int filled = at.runs * at.size;
    const int16_t *from[ROWS_MAX];
    const int32_t *from_sums[ROWS_MAX];
    const V least_sum = FULL32(-INT32_MAX), greatest_sum = FULL32(INT32_MAX);
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
            NEAR_SOON(words + k * stride + begin + AHEAD);
            memcpy(line[k], words + k * stride + begin, sizeof(int16_t) * (size_t)length);
        }
        if (largest <= 4) {
            for (int k = 0; k < filled; k++) {
                const int i = k - at.below, is_row = i >= 0 && i < rows;
                room[k] = is_row ? NAME(few)(line, outside + first[i], first[i + 1] - first[i])
                                 : FULL(i < 0 ? -INT16_MAX : INT16_MAX);
                from[k] = (const int16_t *)(room + k);
            }
            const V *half = NAME(words_in_halves)(from, 0, row, merged, at.runs, at.size);
            NAME(middle_words)(at, half, 0, total);
        } else {
            for (int k = 0; k < rows; k++)
                NAME(many)(line, outside + first[k], first[k + 1] - first[k], sums[k]);
            for (int half = 0; half < WIDTH; half += WIDTH / 2) {
                for (int k = 0; k < filled; k++)
                    from_sums[k] = (const int32_t *)(k < at.below ? &least_sum : &greatest_sum);
                for (int k = 0; k < rows; k++)
                    from_sums[at.below + k] = sums[k] + half;
                NAME(middle_sums)(at, from_sums, total + half);
            }
        }
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
    const int64_t whole = columns - columns % (2 * WIDTH);
    for (int64_t begin = 0; begin < whole; begin += 2 * WIDTH) {
        V low = FULL32(0), high = FULL32(0), next_low = FULL32(0), next_high = FULL32(0);
        for (int64_t row = 0; row < rows; row += 2) {
            const int has_two = row + 1 < rows;
            const uint32_t second = has_two ? (uint32_t)coefficients[row + 1] << 16 : 0;
            const V pair = FULL32((int32_t)(second | (uint32_t)coefficients[row]));
            const int16_t *one = words + row * stride + begin, *other = one + has_two * stride;
            const V a = LOAD(one), b = LOAD(other), c = LOAD(one + WIDTH), d = LOAD(other + WIDTH);
            if (rows > STREAMS) {
                NEAR_SOON(one + AHEAD);
                NEAR_SOON(one + WIDTH + AHEAD);
                NEAR_SOON(other + AHEAD);
                NEAR_SOON(other + WIDTH + AHEAD);
            }
            low = DOT(low, LOW(a, b), pair);
            high = DOT(high, HIGH(a, b), pair);
            next_low = DOT(next_low, LOW(c, d), pair);
            next_high = DOT(next_high, HIGH(c, d), pair);
        }
        PAIRED(out + begin, low, high);
        PAIRED(out + begin + WIDTH, next_low, next_high);
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

#undef EACH
