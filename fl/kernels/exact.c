/* Exact integer passes over a round's words. One law: the same integers as the numpy code beside it, on any processor.
 *
 * `fl.kernels` calls these; `fl.aggregators` and `fl.grid` say what they compute and keep a numpy version of each.
 * Nothing is allocated, nothing is kept, no rounding mode is touched. Floating point appears in `foedus_add`, where
 * every value is an integer below 2^53 and every operation but one division is exact, the quotient then being corrected
 * by its exact remainder, and in `foedus_quantise`, a participant's way to its words, of which nobody votes.
 *
 * Words are int16, |word| <= 8191, in rows of `stride` words. Columns are handled in blocks that stay in the nearest
 * cache. On x86-64 the compiler makes two versions of each loop, with and without AVX2, chosen when the library loads.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_X86 1
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

#define BLOCK 8192 /* columns of one row that are read together: 16 KiB */
#define LANES 64   /* columns that go through a network together */
#define ROWS_MAX 128
#define WORD_MAX 8191

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Inner products of 14-bit words: 16 products fit int32, then they are widened. */

static int64_t dot_plain(const int16_t *a, const int16_t *b, int64_t length)
{
    int64_t total = 0;
    for (int64_t k = 0; k < length; k++)
        total += (int32_t)a[k] * (int32_t)b[k];
    return total;
}

#define AHEAD 512 /* words of a row that are asked for before they are needed: too many rows for the processor to see */
#define NEAR_SOON(place) __builtin_prefetch(place, 0, 2) /* into the second cache: the nearest one is too small for all rows */
#define NEAR 2048       /* columns that are ordered before the rows' places are looked up again */
#define STREAMS 16      /* rows that the processor sees coming by itself */
#define GRAM_BLOCK 4096 /* columns of one row that are multiplied with all others while they are near */

#ifdef HAVE_X86
#include "avx2.h"
#include "avx512.h"

static int lanes_allowed = 512;

/* For comparison: use no vectors of more bits than this. */
void foedus_limit_lanes(int32_t bits) { lanes_allowed = bits; }

static int has_avx512(void)
{
    return lanes_allowed >= 512 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static int has_avx2(void) { return lanes_allowed >= 256 && __builtin_cpu_supports("avx2"); }

#define DISPATCH(FUNCTION, ...)                                                                                        \
    if (has_avx512()) {                                                                                                \
        FUNCTION##_avx512(__VA_ARGS__);                                                                                \
        return;                                                                                                        \
    }                                                                                                                  \
    if (has_avx2()) {                                                                                                  \
        FUNCTION##_avx2(__VA_ARGS__);                                                                                  \
        return;                                                                                                        \
    }
#else
#define DISPATCH(FUNCTION, ...)
void foedus_limit_lanes(int32_t bits) { (void)bits; }
#endif

/* One row's highest and lowest word and its sum of squares. */
CLONES static void survey_plain(const int16_t *line, int64_t columns, int16_t *highest, int16_t *lowest, int64_t *square)
{
    int16_t high = 0, low = 0;
    uint64_t total = 0;
    for (int64_t k = 0; k < columns; k++) {
        high = line[k] > high ? line[k] : high;
        low = line[k] < low ? line[k] : low;
        total += (uint64_t)((int32_t)line[k] * (int32_t)line[k]);
    }
    *highest = high;
    *lowest = low;
    *square = (int64_t)total;
}

static void survey_row(const int16_t *line, int64_t columns, int16_t *highest, int16_t *lowest, int64_t *square)
{
    DISPATCH(survey, line, columns, highest, lowest, square)
    survey_plain(line, columns, highest, lowest, square);
}

/* Each row's largest magnitude and sum of squares; a sum means nothing where a magnitude exceeds 8191. */
void foedus_survey(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int32_t *peaks,
                   int64_t *squares)
{
    for (int64_t row = 0; row < rows; row++) {
        int16_t high, low;
        survey_row(words + row * stride, columns, &high, &low, squares + row);
        peaks[row] = high > -(int32_t)low ? high : -(int32_t)low;
    }
}

/* The upper triangle of the Gram matrix; `gram` has rows x rows entries and is written whole. */
void foedus_gram(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t *gram)
{
    memset(gram, 0, sizeof(int64_t) * (size_t)(rows * rows));
    DISPATCH(gram, words, stride, rows, columns, gram)
    for (int64_t begin = 0; begin < columns; begin += GRAM_BLOCK)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = i; j < rows; j++)
                gram[i * rows + j] += dot_plain(words + i * stride + begin, words + j * stride + begin,
                                                least(GRAM_BLOCK, columns - begin));
}

/* sum of coefficient * row, in int32 or int64; the caller knows that it fits. */
#define WEIGHTED(NAME, TYPE)                                                                                           \
    CLONES void NAME(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, const TYPE *coefficients,    \
                     TYPE *out)                                                                                        \
    {                                                                                                                  \
        for (int64_t begin = 0; begin < columns; begin += BLOCK / 4) {                                                 \
            int64_t length = least(BLOCK / 4, columns - begin);                                                        \
            TYPE *total = out + begin;                                                                                 \
            memset(total, 0, sizeof(TYPE) * (size_t)length);                                                           \
            for (int64_t row = 0; row < rows; row++) {                                                                 \
                const int16_t *line = words + row * stride + begin;                                                    \
                const TYPE coefficient = coefficients[row];                                                            \
                if (coefficient == 0)                                                                                  \
                    continue;                                                                                          \
                for (int64_t k = 0; k < length; k++)                                                                   \
                    total[k] += coefficient * line[k];                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }

WEIGHTED(weighted_32, int32_t)
WEIGHTED(foedus_weighted_64, int64_t)

void foedus_weighted_32(const int16_t *words, int64_t stride, int64_t rows, int64_t columns,
                        const int32_t *coefficients, int32_t *out)
{
    int64_t used = 0, small = 1;
    for (int64_t row = 0; row < rows; row++) {
        used += coefficients[row] != 0;
        small &= coefficients[row] >= 0 && coefficients[row] < 32768;
    }
    if (small && 2 * used > rows) { /* with few rows, those without a share are better left unread */
        DISPATCH(weighted, words, stride, rows, columns, coefficients, out)
    }
    weighted_32(words, stride, rows, columns, coefficients, out);
}

/* Comparators are triples: low place, high place, and what is read later (1 low, 2 high, 3 both). */
#define SORT(TYPE)                                                                                                     \
    for (int64_t step = 0; step < 3 * comparators; step += 3) {                                                        \
        TYPE *low = at[network[step]], *high = at[network[step + 1]];                                                  \
        const int32_t read = network[step + 2];                                                                        \
        if (read == 1) {                                                                                               \
            for (int lane = 0; lane < LANES; lane++)                                                                   \
                low[lane] = low[lane] < high[lane] ? low[lane] : high[lane];                                           \
        } else if (read == 2) {                                                                                        \
            for (int lane = 0; lane < LANES; lane++)                                                                   \
                high[lane] = low[lane] < high[lane] ? high[lane] : low[lane];                                          \
        } else {                                                                                                       \
            for (int lane = 0; lane < LANES; lane++) {                                                                 \
                const TYPE x = low[lane], y = high[lane];                                                              \
                low[lane] = x < y ? x : y;                                                                             \
                high[lane] = x < y ? y : x;                                                                            \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    int32_t total[LANES] = {0};                                                                                        \
    for (int64_t row = drop; row < rows - drop; row++)                                                                 \
        for (int lane = 0; lane < LANES; lane++)                                                                       \
            total[lane] += at[row][lane];

/* Each column's sum without its `drop` lowest and highest words; rows <= ROWS_MAX. */
CLONES static void middle_plain(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
                          const int32_t *network, int64_t comparators, int32_t *out)
{
    int16_t at[ROWS_MAX][LANES];
    for (int64_t begin = 0; begin < columns; begin += LANES) {
        const int64_t length = least(LANES, columns - begin);
        for (int64_t row = 0; row < rows; row++) {
            if (length < LANES)
                memset(at[row], 0, sizeof at[row]);
            memcpy(at[row], words + row * stride + begin, sizeof(int16_t) * (size_t)length);
        }
        SORT(int16_t)
        memcpy(out + begin, total, sizeof(int32_t) * (size_t)length);
    }
}

void foedus_middle(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
                   const int32_t *network, int64_t comparators, int32_t *out)
{
    DISPATCH(middle, words, stride, (int)rows, columns, (int)drop, out)
    middle_plain(words, stride, rows, columns, drop, network, comparators, out);
}

/* As `foedus_middle`, of each row's neighbourhood: all rows but those of `outside` from `first[row]` on. */
CLONES static void mixed_plain(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
                                const int32_t *network, int64_t comparators, const int32_t *outside,
                                const int32_t *first, int32_t *out)
{
    int32_t at[ROWS_MAX][LANES];
    int32_t wide[ROWS_MAX][LANES];
    for (int64_t begin = 0; begin < columns; begin += LANES) {
        const int64_t length = least(LANES, columns - begin);
        int32_t whole[LANES] = {0};
        for (int64_t row = 0; row < rows; row++) {
            const int16_t *line = words + row * stride + begin;
            if (length < LANES)
                memset(wide[row], 0, sizeof wide[row]);
            for (int64_t lane = 0; lane < length; lane++)
                wide[row][lane] = line[lane];
            for (int lane = 0; lane < LANES; lane++)
                whole[lane] += wide[row][lane];
        }
        for (int64_t row = 0; row < rows; row++) {
            memcpy(at[row], whole, sizeof whole);
            for (int32_t place = first[row]; place < first[row + 1]; place++)
                for (int lane = 0; lane < LANES; lane++)
                    at[row][lane] -= wide[outside[place]][lane];
        }
        SORT(int32_t)
        memcpy(out + begin, total, sizeof(int32_t) * (size_t)length);
    }
}

void foedus_middle_mixed(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
                         const int32_t *network, int64_t comparators, const int32_t *outside, const int32_t *first,
                         int32_t *out)
{
    DISPATCH(mixed, words, stride, (int)rows, columns, (int)drop, outside, first, out)
    mixed_plain(words, stride, rows, columns, drop, network, comparators, outside, first, out);
}

/* words * factor / 2^shift, rounded half-even; |word| <= 8191, factor < 2^16, shift 1..30. */
CLONES void foedus_scale(const int16_t *words, int64_t length, int32_t factor, int32_t shift, int16_t *out)
{
    const int32_t half = ((int32_t)1 << (shift - 1)) - 1;
    for (int64_t k = 0; k < length; k++) {
        const int32_t product = words[k] * factor;
        out[k] = (int16_t)((product + ((product >> shift) & 1) + half) >> shift);
    }
}

/* model + numerator * scale / denominator, rounded once to the nearest, ties to even; |numerator * scale| and
 * denominator below 2^51. Returns how many words had to be brought back into low..high. */
#define ADD(NAME, TYPE)                                                                                                \
    CLONES int64_t NAME(int32_t *model, const TYPE *numerator, int64_t length, double scale, double denominator,       \
                        double low, double high)                                                                       \
    {                                                                                                                  \
        int64_t saturated = 0;                                                                                         \
        const double unit = 1.0 / denominator;                                                                         \
        for (int64_t begin = 0; begin < length; begin += LANES) {                                                      \
            const int64_t count = least(LANES, length - begin);                                                        \
            int32_t beyond = 0;                                                                                        \
            for (int64_t k = begin; k < begin + count; k++) {                                                          \
                const double share = (double)numerator[k] * scale;                                                     \
                double quotient = floor(share * unit);                                                                 \
                double remainder = share - quotient * denominator;                                                     \
                const double less = remainder < 0.0 ? 1.0 : 0.0;                                                       \
                quotient -= less;                                                                                      \
                remainder += less * denominator;                                                                       \
                const double more = remainder >= denominator ? 1.0 : 0.0;                                              \
                quotient += more;                                                                                      \
                remainder -= more * denominator;                                                                       \
                double total = (double)model[k] + quotient;                                                            \
                const double twice = remainder + remainder;                                                            \
                const double half = total * 0.5;                                                                       \
                const double odd = floor(half) != half ? 1.0 : 0.0;                                                    \
                const double tie = twice == denominator ? odd : 0.0;                                                   \
                total += twice > denominator ? 1.0 : tie;                                                              \
                const double cut = total > high ? high : total < low ? low : total;                                    \
                beyond += cut != total;                                                                                \
                model[k] = (int32_t)cut;                                                                               \
            }                                                                                                          \
            saturated += beyond;                                                                                       \
        }                                                                                                              \
        return saturated;                                                                                              \
    }

ADD(foedus_add_32, int32_t)
ADD(foedus_add_64, int64_t)

/* Words of (trained - base) * scale, rounded to the nearest, ties to even, and cut off beyond +-bound. Returns how many
 * were cut off; `squares` gets the sum of squared differences, which is not finite where an entry is not. */
CLONES int64_t foedus_quantise(const float *trained, const float *base, int64_t length, double scale, double bound,
                               int16_t *words, double *squares)
{
    double parts[LANES] = {0.0};
    int64_t saturated = 0;
    for (int64_t begin = 0; begin < length; begin += LANES) {
        const int64_t count = least(LANES, length - begin);
        int32_t beyond = 0;
        for (int64_t k = 0; k < count; k++) {
            const double difference = (double)trained[begin + k] - (double)base[begin + k];
            const double value = rint(difference * scale);
            const double cut = value > bound ? bound : value < -bound ? -bound : value;
            parts[k] += difference * difference;
            beyond += cut != value;
            words[begin + k] = (int16_t)(int32_t)cut;
        }
        saturated += beyond;
    }
    *squares = 0.0;
    for (int lane = 0; lane < LANES; lane++)
        *squares += parts[lane];
    return saturated;
}

/* A shared library and its caller must mean the same by these functions. */
int32_t foedus_kernels_version(void) { return 3; }
