/* Vectors of 512 bits for `order.h` and `lanes.h`. One law: nothing but names for instructions. */

#define V __m512i
#define NAME(x) x##_avx512
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))
#define WIDTH 32
#define LOAD(p) _mm512_loadu_si512((const void *)(p))
#define STORE(p, x) _mm512_storeu_si512((void *)(p), x)
#define MIN _mm512_min_epi16
#define MAX _mm512_max_epi16
#define MIN32 _mm512_min_epi32
#define MAX32 _mm512_max_epi32
#define ADD16 _mm512_add_epi16
#define ADD32 _mm512_add_epi32
#define SUB32 _mm512_sub_epi32
#define FULL(x) _mm512_set1_epi16((int16_t)(x))
#define FULL32(x) _mm512_set1_epi32(x)
#define DOT _mm512_dpwssd_epi32
#define PLUS64 plus64_avx512
#define TOTAL64 _mm512_reduce_add_epi64
#define LOW _mm512_unpacklo_epi16
#define HIGH _mm512_unpackhi_epi16
#define PAIRED(out, lo, hi) paired_avx512(out, lo, hi)

TARGET static inline __m512i plus64_avx512(__m512i total, __m512i x)
{
    const __m512i wide = _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(x)),
                                          _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(x, 1)));
    return _mm512_add_epi64(total, wide);
}

TARGET static inline void paired_avx512(int32_t *out, __m512i lo, __m512i hi)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    STORE(out, _mm512_permutex2var_epi32(lo, first, hi));
    STORE(out + 16, _mm512_permutex2var_epi32(lo, second, hi));
}

#include "order.h"
#include "lanes.h"
