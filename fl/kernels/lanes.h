/* The hot passes in explicit vectors, included once for each instruction set. One law: the same integers as `exact.c`.
 *
 * The includer defines NAME(x), TARGET, WIDTH (int16 lanes of a vector) and, for vectors of them:
 *   V          the type                     LOAD STORE        unaligned
 *   MIN MAX    of int16 lanes               MIN32 MAX32       of int32 lanes
 *   ADD16      of int16 lanes               ADD32 SUB32       of int32 lanes
 *   FULL(x)    x in every int16 lane        FULL32(x)         x in every int32 lane
 *   PLUS64(t, a)  t + a in int64 lanes, a in int32 lanes of which two go into one; TOTAL64(t) all of them
 *   DOT(t,a,b) t + a0 b0 + a1 b1 in int32 lanes, for pairs of int16 lanes
 *   LOW HIGH   neighbours of two vectors side by side, in the order that PAIRED undoes
 *   PAIRED(out, lo, hi)  writes WIDTH int32 in the order of columns
 *
 * `order.h`, which sorts, comes before it.
 */

#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)

/* Sum of a few rows that fits a word, and of any, in the order of LOW and HIGH. */
TARGET static inline V NAME(few)(const int16_t *const *line, int column, const int32_t *listed, int count)
{
    V sum = FULL(0);
    for (int k = 0; k < count; k++)
        sum = ADD16(sum, LOAD(line[listed[k]] + column));
    return sum;
}

TARGET static inline void NAME(many)(const int16_t *const *line, int column, const int32_t *listed, int t, V *total)
{
    const int are_words = 1;
    const V unit = FULL(1);
    total[0] = total[1] = FULL(0);
#define LISTED_WORD(k) LOAD(line[listed[k]] + column)
    ADD_EACH(LISTED_WORD)
#undef LISTED_WORD
}

/* What does not change from column to column, and room for what does. */
typedef struct {
    NAME(Shape) at;
    const int32_t *outside, *first;
    int32_t everybody[ROWS_MAX];
    int largest; /* number of rows outside */
    V row[ROWS_MAX], merged[ROWS_MAX], low[ROWS_MAX], high[ROWS_MAX];
    const int32_t *from_low[ROWS_MAX], *from_high[ROWS_MAX];
} NAME(Mixing);

TARGET static void NAME(prepare_mixing)(NAME(Mixing) *m, int rows, int drop, const int32_t *outside, const int32_t *first)
{
    m->at = NAME(shape)(rows, drop);
    m->outside = outside;
    m->first = first;
    m->largest = 0;
    for (int k = 0; k < rows; k++) {
        m->everybody[k] = k;
        m->largest = first[k + 1] - first[k] > m->largest ? first[k + 1] - first[k] : m->largest;
    }
    for (int k = 0; k < m->at.runs * m->at.size; k++) {
        const int is_below = k < m->at.below;
        const V words = FULL(is_below ? -INT16_MAX : INT16_MAX), sums = FULL32(is_below ? -INT32_MAX : INT32_MAX);
        m->low[k] = m->largest <= 4 ? words : sums;
        m->high[k] = sums;
        m->from_low[k] = (const int32_t *)(m->low + k);
        m->from_high[k] = (const int32_t *)(m->high + k);
    }
}

/* All rows less some are in descending order when those few are in ascending order. */
TARGET static void NAME(mixed_columns)(NAME(Mixing) *m, const int16_t *const *line, int column, int32_t *out)
{
    const NAME(Shape) at = m->at;
    int32_t middle[WIDTH], all[WIDTH];
    V total[2];
    if (m->largest <= 4) {
        const int16_t *from[ROWS_MAX];
        for (int k = 0; k < at.rows; k++)
            m->low[at.below + k] = NAME(few)(line, column, m->outside + m->first[k], m->first[k + 1] - m->first[k]);
        for (int k = 0; k < at.runs * at.size; k++)
            from[k] = (const int16_t *)(m->low + k);
        NAME(middle_words)(at, NAME(words_in_halves)(from, 0, m->row, m->merged, at.runs, at.size), 0, middle);
    } else {
        for (int k = 0; k < at.rows; k++) {
            NAME(many)(line, column, m->outside + m->first[k], m->first[k + 1] - m->first[k], total);
            m->low[at.below + k] = total[0];
            m->high[at.below + k] = total[1];
        }
        const V first = NAME(middle_sums)(at, m->from_low, m->row, m->merged);
        PAIRED(middle, first, NAME(middle_sums)(at, m->from_high, m->row, m->merged));
    }
    NAME(many)(line, column, m->everybody, at.rows, total);
    PAIRED(all, total[0], total[1]);
    for (int k = 0; k < WIDTH; k++)
        out[k] = (at.rows - 2 * at.drop) * all[k] - middle[k];
}

/* As `foedus_middle_mixed`. */
TARGET static void NAME(mixed)(const int16_t *words, int64_t stride, int rows, int64_t columns, int drop,
                               const int32_t *outside, const int32_t *first, int32_t *out)
{
    NAME(Mixing) m;
    const int16_t *line[ROWS_MAX];
    NAME(prepare_mixing)(&m, rows, drop, outside, first);
    for (int64_t begin = 0; begin < columns; begin += NEAR) {
        const int length = (int)least(NEAR, columns - begin), whole = length - length % WIDTH;
        for (int k = 0; k < rows; k++)
            line[k] = words + k * stride + begin;
        for (int column = 0; column < whole; column += WIDTH) {
            for (int k = 0; k < rows && rows > STREAMS; k++)
                NEAR_SOON(line[k] + column + AHEAD);
            NAME(mixed_columns)(&m, line, column, out + begin + column);
        }
        if (whole < length) {
            int16_t last[ROWS_MAX][WIDTH];
            int32_t total[WIDTH];
            for (int k = 0; k < rows; k++)
                line[k] = memcpy(last[k], line[k] + whole, sizeof(int16_t) * (size_t)(length - whole));
            NAME(mixed_columns)(&m, line, 0, total);
            memcpy(out + begin + whole, total, sizeof(int32_t) * (size_t)(length - whole));
        }
    }
}

/* Inner products of up to four rows with up to four; of the same rows the upper triangle alone. Sixteen sums of two
 * products of words fit int32. */
TARGET __attribute__((always_inline)) static inline void NAME(dot_tile)(const int16_t *const *a, const int16_t *const *b,
                                                                        int64_t length, int64_t *out, const int height,
                                                                        const int width, const int is_same)
{
    const int64_t piece = 16 * WIDTH, rest = length % WIDTH, from = length - rest;
    V wide[16], sum[16], x[4], y[4];
#define IS_WANTED(p) ((p) / 4 < height && (p) % 4 < width && (!is_same || (p) / 4 <= (p) % 4))
#define CLEAR_WIDE(p) wide[p] = FULL(0);
#define CLEAR(p) sum[p] = FULL(0);
#define LOAD_ROWS(k)                                                                                                   \
    for (int row = 0; row < 4; row++) {                                                                                \
        x[row] = row < height ? LOAD(a[row] + (k)) : FULL(0);                                                          \
        y[row] = is_same ? x[row] : row < width ? LOAD(b[row] + (k)) : FULL(0);                                        \
    }
#define ADD_PRODUCTS(p)                                                                                                \
    if (IS_WANTED(p))                                                                                                  \
        sum[p] = DOT(sum[p], x[(p) / 4], y[(p) % 4]);
#define ADD_WIDE(p)                                                                                                    \
    if (IS_WANTED(p))                                                                                                  \
        wide[p] = PLUS64(wide[p], sum[p]);
#define TAKE(p) out[p] = IS_WANTED(p) ? TOTAL64(wide[p]) : 0;
    EACH(CLEAR_WIDE)
    for (int64_t begin = 0; begin < from; begin += piece) {
        const int64_t end = begin + least(piece, from - begin);
        EACH(CLEAR)
        for (int64_t k = begin; k < end; k += WIDTH) {
            LOAD_ROWS(k)
            EACH(ADD_PRODUCTS)
        }
        EACH(ADD_WIDE)
    }
    EACH(TAKE)
    for (int place = 0; rest && place < 16; place++)
        out[place] += dot_plain(a[place / 4] + from, b[place % 4] + from, rest);
#undef IS_WANTED
#undef CLEAR_WIDE
#undef CLEAR
#undef LOAD_ROWS
#undef ADD_PRODUCTS
#undef ADD_WIDE
#undef TAKE
}

#define TILE(FUNCTION, HEIGHT, TILE_WIDTH, SAME)                                                                       \
    TARGET static void NAME(FUNCTION)(const int16_t *const *a, const int16_t *const *b, int64_t length, int64_t *out)  \
    {                                                                                                                  \
        NAME(dot_tile)(a, b, length, out, HEIGHT, TILE_WIDTH, SAME);                                                   \
    }
TILE(same_1, 1, 1, 1)
TILE(same_2, 2, 2, 1)
TILE(same_3, 3, 3, 1)
TILE(same_4, 4, 4, 1)
TILE(four_by_1, 4, 1, 0)
TILE(four_by_2, 4, 2, 0)
TILE(four_by_3, 4, 3, 0)
TILE(four_by_4, 4, 4, 0)
#undef TILE

TARGET static void NAME(gram)(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t *gram)
{
    typedef void (*Tile)(const int16_t *const *, const int16_t *const *, int64_t, int64_t *);
    const Tile same[] = {NAME(same_1), NAME(same_2), NAME(same_3), NAME(same_4)};
    const Tile others[] = {NAME(four_by_1), NAME(four_by_2), NAME(four_by_3), NAME(four_by_4)};
    const int64_t block = rows > STREAMS ? GRAM_BLOCK : GRAM_BLOCK / 2;
    for (int64_t begin = 0; begin < columns; begin += block) {
        const int64_t length = least(block, columns - begin);
        for (int64_t i = 0; i < rows; i += 4) {
            for (int64_t j = i; j < rows; j += 4) {
                const int16_t *a[4], *b[4];
                int64_t part[16];
                for (int k = 0; k < 4; k++) {
                    a[k] = words + least(i + k, rows - 1) * stride + begin;
                    b[k] = words + least(j + k, rows - 1) * stride + begin;
                }
                (i == j ? same : others)[least(rows - j, 4) - 1](a, b, length, part);
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
#undef ADD_EACH
