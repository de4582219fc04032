/* Runs the kernels on vectors from standard input and prints a digest a line: for machines without Python.
 *
 * A line is `name rows columns seed a b`; `tests/fl/kernel_vectors.py` says what that means and makes the same numbers.
 * Words and digests are made by arithmetic alone, so that no order of bytes comes in.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void foedus_survey(const int16_t *, int64_t, int64_t, int64_t, int32_t *, int64_t *);
void foedus_gram(const int16_t *, int64_t, int64_t, int64_t, int64_t *);
void foedus_weighted_32(const int16_t *, int64_t, int64_t, int64_t, const int32_t *, int32_t *);
void foedus_weighted_64(const int16_t *, int64_t, int64_t, int64_t, const int64_t *, int64_t *);
void foedus_middle(const int16_t *, int64_t, int64_t, int64_t, int64_t, const int32_t *, int64_t, int32_t *);
void foedus_middle_mixed(const int16_t *, int64_t, int64_t, int64_t, int64_t, const int32_t *, int64_t, const int32_t *,
                         const int32_t *, int32_t *);
void foedus_scale(const int16_t *, int64_t, int32_t, int32_t, int16_t *);
int64_t foedus_add_32(int32_t *, const int32_t *, int64_t, double, double, double, double);
int64_t foedus_add_64(int32_t *, const int64_t *, int64_t, double, double, double, double);
int64_t foedus_quantise(const float *, const float *, int64_t, double, double, int16_t *, double *);

static uint64_t mixed_up(uint64_t place) /* splitmix64 */
{
    uint64_t z = place * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t digest;

static void take(int64_t value) /* FNV-1a over 8 bytes, the least significant first */
{
    for (int byte = 0; byte < 8; byte++)
        digest = (digest ^ (((uint64_t)value >> (8 * byte)) & 0xFF)) * 0x100000001B3u;
}

static void *room(int64_t count, size_t size)
{
    void *found = calloc((size_t)count + 1, size);
    if (found == NULL)
        exit(3);
    return found;
}

/* Batcher's merge exchange; every place is read later. */
static int64_t network(int64_t rows, int32_t *out)
{
    int64_t top = 1, count = 0;
    while (2 * top < rows)
        top *= 2;
    for (int64_t p = top; p > 0 && rows > 1; p /= 2) {
        for (int64_t q = top, r = 0, distance = p;; distance = q - p, q /= 2, r = p) {
            for (int64_t low = 0; low < rows - distance; low++) {
                if ((low & p) == r) {
                    const int32_t one[3] = {(int32_t)low, (int32_t)(low + distance), 3};
                    memcpy(out + 3 * count++, one, sizeof one);
                }
            }
            if (q == p)
                break;
        }
    }
    return count;
}

static void run(const char *name, int64_t rows, int64_t columns, uint64_t seed, int64_t a, int64_t b)
{
    const int64_t size = rows * columns;
    int16_t *words = room(2 * size, sizeof *words);
    int32_t *sums = room(columns, sizeof *sums), *comparators = room(3 * 4096, sizeof *comparators);
    for (int64_t k = 0; k < 2 * size; k++)
        words[k] = (int16_t)((int64_t)(mixed_up(seed + (uint64_t)k) % 16383) - 8191);
    if (strcmp(name, "survey") == 0) {
        int32_t *peaks = room(rows, sizeof *peaks);
        int64_t *squares = room(rows, sizeof *squares);
        foedus_survey(words, columns, rows, columns, peaks, squares);
        for (int64_t k = 0; k < rows; k++) {
            take(peaks[k]);
            take(squares[k]);
        }
    } else if (strcmp(name, "gram") == 0) {
        int64_t *gram = room(rows * rows, sizeof *gram);
        foedus_gram(words, columns, rows, columns, gram);
        for (int64_t k = 0; k < rows * rows; k++)
            take(gram[k]);
    } else if (strcmp(name, "weighted_32") == 0) {
        int32_t *factors = room(rows, sizeof *factors);
        for (int64_t k = 0; k < rows; k++)
            factors[k] = (int32_t)(mixed_up(seed + 1000003u + (uint64_t)k) % (uint64_t)(a + 1));
        foedus_weighted_32(words, columns, rows, columns, factors, sums);
        for (int64_t k = 0; k < columns; k++)
            take(sums[k]);
    } else if (strcmp(name, "weighted_64") == 0) {
        int64_t *factors = room(rows, sizeof *factors), *wide = room(columns, sizeof *wide);
        for (int64_t k = 0; k < rows; k++)
            factors[k] = (int64_t)(mixed_up(seed + 1000003u + (uint64_t)k) % (uint64_t)(a + 1));
        foedus_weighted_64(words, columns, rows, columns, factors, wide);
        for (int64_t k = 0; k < columns; k++)
            take(wide[k]);
    } else if (strcmp(name, "middle") == 0) {
        foedus_middle(words, columns, rows, columns, a, comparators, network(rows, comparators), sums);
        for (int64_t k = 0; k < columns; k++)
            take(sums[k]);
    } else if (strcmp(name, "mixed") == 0) {
        int32_t *outside = room(rows * b, sizeof *outside), *first = room(rows, sizeof *first);
        for (int64_t row = 0, place = 0; row < rows; row++, first[row] = (int32_t)place)
            for (int64_t other = 0; other < rows; other++)
                if ((other - row + rows) % rows >= 1 && (other - row + rows) % rows <= b)
                    outside[place++] = (int32_t)other;
        foedus_middle_mixed(words, columns, rows, columns, a, comparators, network(rows, comparators), outside, first,
                            sums);
        for (int64_t k = 0; k < columns; k++)
            take(sums[k]);
    } else if (strcmp(name, "scale") == 0) {
        int16_t *scaled = room(columns, sizeof *scaled);
        foedus_scale(words, columns, (int32_t)a, (int32_t)b, scaled);
        for (int64_t k = 0; k < columns; k++)
            take(scaled[k]);
    } else if (strcmp(name, "add_32") == 0 || strcmp(name, "add_64") == 0) {
        int32_t *model = room(columns, sizeof *model);
        int64_t *wide = room(columns, sizeof *wide);
        const double scale = (double)((int64_t)1 << (b > 0 ? b : 0)), divisor = (double)(a << (b < 0 ? -b : 0));
        for (int64_t k = 0; k < columns; k++) {
            model[k] = (int32_t)((int64_t)(mixed_up(seed + 1000003u + (uint64_t)k) >> 32) - ((int64_t)1 << 31));
            wide[k] = words[k] * (a - 1) + words[size + k];
            sums[k] = (int32_t)wide[k];
        }
        take(name[4] == '3' ? foedus_add_32(model, sums, columns, scale, divisor, INT32_MIN, INT32_MAX)
                            : foedus_add_64(model, wide, columns, scale, divisor, INT32_MIN, INT32_MAX));
        for (int64_t k = 0; k < columns; k++)
            take(model[k]);
    } else if (strcmp(name, "quantise") == 0) {
        float *trained = room(columns, sizeof *trained), *base = room(columns, sizeof *base);
        int16_t *found = room(columns, sizeof *found);
        double squares;
        for (int64_t k = 0; k < columns; k++) {
            trained[k] = (float)words[k] / 3.0f;
            base[k] = (float)words[size + k] / 7.0f;
        }
        take(foedus_quantise(trained, base, columns, (double)((int64_t)1 << b), 8191.0, found, &squares));
        for (int64_t k = 0; k < columns; k++)
            take(found[k]);
    } else {
        exit(2);
    }
}

int main(void)
{
    char name[16];
    int64_t rows, columns, a, b;
    uint64_t seed;
    while (scanf("%15s %" SCNd64 " %" SCNd64 " %" SCNu64 " %" SCNd64 " %" SCNd64, name, &rows, &columns, &seed, &a, &b) == 6) {
        digest = 0xCBF29CE484222325u;
        run(name, rows, columns, seed, a, b);
        printf("%016" PRIx64 "\n", digest);
    }
    return 0;
}
