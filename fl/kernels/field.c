/* Arithmetic in the field of p = 2^61 - 1 elements. One law: the same elements as the numpy code of `fl.sealed.field`.
 *
 * Elements are uint64 below p. Products are reduced by folding at bit 61, since 2^61 = 1 in this field. Loops do the same
 * work whatever the elements are: no branch and no address depends on a secret.
 */

#include <stdint.h>
#include <string.h>

#ifdef __SIZEOF_INT128__ /* elsewhere the library lacks these functions, and numpy does the work */

#define P ((UINT64_C(1) << 61) - 1)
#define FOLDED 32      /* products below 2^122 that are added up before they are folded: 32 of them stay below 2^127 */
#define GRAM_WORDS 512 /* columns of one row that are multiplied with all others while they are near: 4 KiB */

typedef unsigned __int128 wide;

/* t below 2^62 + 2^61 -> the element. */
static inline uint64_t small(uint64_t t)
{
    t = (t & P) + (t >> 61);
    return t - (P & -(uint64_t)(t >= P));
}

static inline uint64_t folded(wide t) { return small(((uint64_t)t & P) + (uint64_t)((t >> 61) & P) + (uint64_t)(t >> 122)); }

/* Cut words to 61 bits; return how many of them are p, which is no element. */
int64_t foedus_field_mask(uint64_t *words, int64_t length)
{
    int64_t beyond = 0;
    for (int64_t k = 0; k < length; k++) {
        words[k] &= P;
        beyond += words[k] == P;
    }
    return beyond;
}

/* out = a + b. */
void foedus_field_add(const uint64_t *a, const uint64_t *b, int64_t length, uint64_t *out)
{
    for (int64_t k = 0; k < length; k++) {
        const uint64_t t = a[k] + b[k];
        out[k] = t - (P & -(uint64_t)(t >= P));
    }
}

/* out = a - b. */
void foedus_field_subtract(const uint64_t *a, const uint64_t *b, int64_t length, uint64_t *out)
{
    for (int64_t k = 0; k < length; k++) {
        const uint64_t t = a[k] + P - b[k];
        out[k] = t - (P & -(uint64_t)(t >= P));
    }
}

/* total += factor * vector. */
void foedus_field_add_scaled(uint64_t *total, const uint64_t *vector, int64_t length, uint64_t factor)
{
    for (int64_t k = 0; k < length; k++) {
        const wide t = (wide)factor * vector[k];
        total[k] = small(((uint64_t)t & P) + (uint64_t)(t >> 61) + total[k]);
    }
}

static uint64_t dot(const uint64_t *a, const uint64_t *b, int64_t length)
{
    uint64_t total = 0;
    for (int64_t begin = 0; begin < length; begin += FOLDED) {
        const int64_t stop = length - begin < FOLDED ? length : begin + FOLDED;
        wide part = 0;
        for (int64_t k = begin; k < stop; k++)
            part += (wide)a[k] * b[k];
        total = small(total + folded(part));
    }
    return total;
}

/* The upper triangle of the inner products of rows that lie `stride` elements apart; the rest of `gram` is 0. */
void foedus_field_gram(const uint64_t *elements, int64_t stride, int64_t rows, int64_t columns, uint64_t *gram)
{
    memset(gram, 0, sizeof(uint64_t) * (size_t)(rows * rows));
    for (int64_t begin = 0; begin < columns; begin += GRAM_WORDS) {
        const int64_t length = columns - begin < GRAM_WORDS ? columns - begin : GRAM_WORDS;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = i; j < rows; j++)
                gram[i * rows + j] = small(gram[i * rows + j] + dot(elements + i * stride + begin,
                                                                    elements + j * stride + begin, length));
    }
}

/* One inner product. */
uint64_t foedus_field_dot(const uint64_t *a, const uint64_t *b, int64_t length) { return dot(a, b, length); }

/* A shared library and its caller must mean the same by these functions. */
int32_t foedus_field_version(void) { return 1; }

#endif
