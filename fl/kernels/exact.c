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
#define HAVE_AVX2_INTRINSICS 1
#endif

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#else
#define CLONES
#endif

#define BLOCK 8192 /* columns of one row that are read together: 16 KiB */
#define LANES 64   /* columns that go through a network together */
#define ROWS_MAX 128

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Inner products of 14-bit words: 16 products fit int32, then they are widened. */

static int64_t dot_plain(const int16_t *a, const int16_t *b, int64_t length)
{
    int64_t total = 0;
    for (int64_t k = 0; k < length; k++)
        total += (int32_t)a[k] * (int32_t)b[k];
    return total;
}

#ifdef HAVE_AVX2_INTRINSICS
__attribute__((target("avx2"))) static inline __m256i widened(__m256i total, __m256i part)
{
    total = _mm256_add_epi64(total, _mm256_cvtepi32_epi64(_mm256_castsi256_si128(part)));
    return _mm256_add_epi64(total, _mm256_cvtepi32_epi64(_mm256_extracti128_si256(part, 1)));
}

__attribute__((target("avx2"))) static inline int64_t summed(__m256i total)
{
    int64_t lanes[4];
    _mm256_storeu_si256((__m256i *)lanes, total);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

__attribute__((target("avx2"))) static int64_t dot_avx2(const int16_t *a, const int16_t *b, int64_t length)
{
    __m256i total = _mm256_setzero_si256();
    int64_t k = 0;
    for (; k + 128 <= length; k += 128) {
        __m256i part = _mm256_setzero_si256();
        for (int64_t step = 0; step < 128; step += 16) {
            __m256i x = _mm256_loadu_si256((const __m256i *)(a + k + step));
            __m256i y = _mm256_loadu_si256((const __m256i *)(b + k + step));
            part = _mm256_add_epi32(part, _mm256_madd_epi16(x, y));
        }
        total = widened(total, part);
    }
    return summed(total) + dot_plain(a + k, b + k, length - k);
}

/* Four inner products of two rows with two rows: half the loads. */
__attribute__((target("avx2"))) static void dot_two_avx2(const int16_t *a, const int16_t *b, int64_t a_stride,
                                                         int64_t b_stride, int64_t length, int64_t *out)
{
    const int16_t *a1 = a + a_stride, *b1 = b + b_stride;
    __m256i total[4];
    for (int place = 0; place < 4; place++)
        total[place] = _mm256_setzero_si256();
    int64_t k = 0;
    for (; k + 128 <= length; k += 128) {
        __m256i p0 = _mm256_setzero_si256(), p1 = p0, p2 = p0, p3 = p0;
        for (int64_t step = k; step < k + 128; step += 16) {
            __m256i x0 = _mm256_loadu_si256((const __m256i *)(a + step));
            __m256i x1 = _mm256_loadu_si256((const __m256i *)(a1 + step));
            __m256i y0 = _mm256_loadu_si256((const __m256i *)(b + step));
            __m256i y1 = _mm256_loadu_si256((const __m256i *)(b1 + step));
            p0 = _mm256_add_epi32(p0, _mm256_madd_epi16(x0, y0));
            p1 = _mm256_add_epi32(p1, _mm256_madd_epi16(x0, y1));
            p2 = _mm256_add_epi32(p2, _mm256_madd_epi16(x1, y0));
            p3 = _mm256_add_epi32(p3, _mm256_madd_epi16(x1, y1));
        }
        total[0] = widened(total[0], p0);
        total[1] = widened(total[1], p1);
        total[2] = widened(total[2], p2);
        total[3] = widened(total[3], p3);
    }
    int64_t rest = length - k;
    out[0] = summed(total[0]) + dot_plain(a + k, b + k, rest);
    out[1] = summed(total[1]) + dot_plain(a + k, b1 + k, rest);
    out[2] = summed(total[2]) + dot_plain(a1 + k, b + k, rest);
    out[3] = summed(total[3]) + dot_plain(a1 + k, b1 + k, rest);
}
#endif

static int has_avx2(void)
{
#ifdef HAVE_AVX2_INTRINSICS
    return __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}

static int64_t dot(const int16_t *a, const int16_t *b, int64_t length)
{
#ifdef HAVE_AVX2_INTRINSICS
    if (has_avx2())
        return dot_avx2(a, b, length);
#endif
    return dot_plain(a, b, length);
}

static void dot_two(const int16_t *a, const int16_t *b, int64_t a_stride, int64_t b_stride, int64_t length,
                    int64_t *out)
{
#ifdef HAVE_AVX2_INTRINSICS
    if (has_avx2()) {
        dot_two_avx2(a, b, a_stride, b_stride, length, out);
        return;
    }
#endif
    for (int place = 0; place < 4; place++)
        out[place] = dot_plain(a + (place >> 1) * a_stride, b + (place & 1) * b_stride, length);
}

/* Highest and lowest word of a part of a row. */
CLONES static void range_of(const int16_t *words, int64_t length, int16_t *highest, int16_t *lowest)
{
    int16_t high = *highest, low = *lowest;
    for (int64_t k = 0; k < length; k++) {
        high = words[k] > high ? words[k] : high;
        low = words[k] < low ? words[k] : low;
    }
    *highest = high;
    *lowest = low;
}

/* Each row's largest magnitude and sum of squares; a sum means nothing where a magnitude exceeds 8191. */
void foedus_survey(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int32_t *peaks,
                   int64_t *squares)
{
    for (int64_t row = 0; row < rows; row++) {
        const int16_t *line = words + row * stride;
        int16_t high = 0, low = 0;
        uint64_t total = 0;
        for (int64_t begin = 0; begin < columns; begin += BLOCK) {
            int64_t length = least(BLOCK, columns - begin);
            range_of(line + begin, length, &high, &low);
            total += (uint64_t)dot(line + begin, line + begin, length);
        }
        peaks[row] = high > -(int32_t)low ? high : -(int32_t)low;
        squares[row] = (int64_t)total;
    }
}

/* The upper triangle of the Gram matrix; `gram` has rows x rows entries and is written whole. */
void foedus_gram(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t *gram)
{
    memset(gram, 0, sizeof(int64_t) * (size_t)(rows * rows));
    int64_t even = rows & ~(int64_t)1;
    for (int64_t begin = 0; begin < columns; begin += BLOCK) {
        int64_t length = least(BLOCK, columns - begin);
        const int16_t *block = words + begin;
        for (int64_t i = 0; i < even; i += 2) {
            for (int64_t j = i; j < even; j += 2) {
                int64_t part[4];
                dot_two(block + i * stride, block + j * stride, stride, stride, length, part);
                gram[i * rows + j] += part[0];
                gram[i * rows + j + 1] += part[1];
                gram[(i + 1) * rows + j + 1] += part[3];
                if (i != j)
                    gram[(i + 1) * rows + j] += part[2];
            }
        }
        for (int64_t i = 0; even != rows && i < rows; i++)
            gram[i * rows + even] += dot(block + i * stride, block + even * stride, length);
    }
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

WEIGHTED(foedus_weighted_32, int32_t)
WEIGHTED(foedus_weighted_64, int64_t)

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
CLONES void foedus_middle(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
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

/* As `foedus_middle`, of each row's neighbourhood: all rows but those of `outside` from `first[row]` on. */
CLONES void foedus_middle_mixed(const int16_t *words, int64_t stride, int64_t rows, int64_t columns, int64_t drop,
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
int32_t foedus_kernels_version(void) { return 2; }
