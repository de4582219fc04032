/* Vectors of 256 bits for `order.h` and `lanes.h`. One law: nothing but names for instructions. */

#define V __m256i
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2")))
#define WIDTH 16
#define LOAD(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE(p, x) _mm256_storeu_si256((__m256i *)(p), x)
#define MIN _mm256_min_epi16
#define MAX _mm256_max_epi16
#define MIN32 _mm256_min_epi32
#define MAX32 _mm256_max_epi32
#define ADD16 _mm256_add_epi16
#define ADD32 _mm256_add_epi32
#define SUB32 _mm256_sub_epi32
#define FULL(x) _mm256_set1_epi16((int16_t)(x))
#define FULL32(x) _mm256_set1_epi32(x)
#define DOT(t, a, b) _mm256_add_epi32(t, _mm256_madd_epi16(a, b))
#define PLUS64 plus64_avx2
#define TOTAL64 total_avx2
#define LOW _mm256_unpacklo_epi16
#define HIGH _mm256_unpackhi_epi16
#define PAIRED(out, lo, hi)                                                                                            \
    {                                                                                                                  \
        STORE(out, _mm256_permute2x128_si256(lo, hi, 0x20));                                                           \
        STORE((out) + 8, _mm256_permute2x128_si256(lo, hi, 0x31));                                                     \
    }

TARGET static inline __m256i plus64_avx2(__m256i total, __m256i x)
{
    const __m256i wide = _mm256_add_epi64(_mm256_cvtepi32_epi64(_mm256_castsi256_si128(x)),
                                          _mm256_cvtepi32_epi64(_mm256_extracti128_si256(x, 1)));
    return _mm256_add_epi64(total, wide);
}

TARGET static inline int64_t total_avx2(__m256i x)
{
    int64_t lanes[4];
    STORE(lanes, x);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

#include "order.h"
#include "lanes.h"

#undef V
#undef NAME
#undef TARGET
#undef WIDTH
#undef LOAD
#undef STORE
#undef MIN
#undef MAX
#undef MIN32
#undef MAX32
#undef ADD16
#undef ADD32
#undef SUB32
#undef FULL
#undef FULL32
#undef DOT
#undef PLUS64
#undef TOTAL64
#undef LOW
#undef HIGH
#undef PAIRED
