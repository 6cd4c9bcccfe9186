// Group norm (arXiv 1803.08494) of an activation as scale and shift per channel, and the mean of
// what follows it.
//
//   norm(f)[v][c] = scale[c] * f[v][c] + shift[c]
//   scale = gamma / sqrt(variance of the group + eps),  shift = beta - scale * mean of the group
//
// Sums are taken over blocks of voxels: first the block's mean, then squares around it, both while
// the block is in the first cache, so that a large mean costs no digits. Blocks are joined in
// double, in their own order: results do not depend on the threads.
#include "pending.h"
#include "statistics.h"
#include "threads.h"

enum { BLOCK = 32, MOST_LINES = 4, MOST_PARTS = 128 };

// total[i] += sum, squares[i] += sum of squares, over n <= BLOCK voxels from `first` on, for
// `lines` lines of channels from c on. Voxels are read in the order in which they lie, and as many
// sums run side by side as there are vectors.
INLINE void add_lines(const int lines, const pending_t *f, long first, int n, long c, double *total,
                      double *squares) {
  vec value[BLOCK][MOST_LINES * VECS];
  vec s[MOST_LINES * VECS], q[MOST_LINES * VECS], mean[MOST_LINES * VECS];
  UNROLL(h, lines * VECS) s[h] = q[h] = zero();
  ROLLED(i, n, 1)
    UNROLL(h, lines * VECS) s[h] += value[i][h] = pending_value(f, first + i, c + h * LANES);
  UNROLL(h, lines * VECS) mean[h] = s[h] * splat(1.f / n);
  ROLLED(i, n, 1)
    UNROLL(h, lines * VECS) {
      const vec d = value[i][h] - mean[h];
      q[h] = plus(q[h], d, d);
    }
  UNROLL(h, lines * VECS)
    add_moments(s[h], mean[h], q[h], n, total + h * LANES, squares + h * LANES);
}
#define ADD_ARGS const pending_t *f, long first, int n, long c, double *total, double *squares
typedef void add_fn(ADD_ARGS);
NOINLINE void add_1(ADD_ARGS) { add_lines(1, f, first, n, c, total, squares); }
NOINLINE void add_2(ADD_ARGS) { add_lines(2, f, first, n, c, total, squares); }
NOINLINE void add_3(ADD_ARGS) { add_lines(3, f, first, n, c, total, squares); }
NOINLINE void add_4(ADD_ARGS) { add_lines(4, f, first, n, c, total, squares); }

static void add_block(const pending_t *f, long first, int n, double *total, double *squares) {
  static add_fn *const add[] = {add_1, add_2, add_3, add_4};
  for (long c = 0; c < f->channels; c += MOST_LINES * LINE) {
    const long left = (f->channels - c) / LINE;
    add[(left < MOST_LINES ? left : MOST_LINES) - 1](f, first, n, c, total + c, squares + c);
  }
}

typedef struct {
  const pending_t *f;
  long voxels, blocks, parts, each; // blocks of a part
  double *total;                    // [parts][2][channels as stored]
  long next;
} sums_t;
static void sums_share(void *given, const member_t *me) {
  sums_t *j = given;
  const long stored = j->f->channels;
  (void)me;
  for (long part; (part = take(&j->next, 1)) < j->parts;) {
    double *own = j->total + 2 * stored * part;
    for (long b = part * j->each; b < (part + 1) * j->each && b < j->blocks; b++) {
      const long left = j->voxels - b * BLOCK;
      add_block(j->f, b * BLOCK, left < BLOCK ? (int)left : BLOCK, own, own + stored);
    }
  }
}

// scale, shift: [channels as stored], zeros beyond `channels`. gamma, beta: [channels]. Returns 0,
// or 1 without memory.
long group_norm(long threads, long voxels, long channels, long groups, double eps,
                const pending_t *f, const float *gamma, const float *beta, float *scale,
                float *shift) {
  const long stored = f->channels, blocks = (voxels + BLOCK - 1) / BLOCK;
  const long each = (blocks + MOST_PARTS - 1) / MOST_PARTS, parts = (blocks + each - 1) / each;
  double *total = calloc((size_t)(2 * stored * parts), sizeof *total);
  if (!total) return 1;
  sums_t j = {f, voxels, blocks, parts, each, total, 0};
  parallel(threads, sums_share, &j);
  for (long part = 1; part < parts; part++)
    for (long i = 0; i < 2 * stored; i++) total[i] += total[2 * stored * part + i];
  const long width = channels / groups;
  for (long g = 0; g < groups; g++) {
    double mean = 0, square = 0;
    for (long c = g * width; c < (g + 1) * width; c++) {
      mean += total[c];
      square += total[stored + c];
    }
    mean /= (double)voxels * width;
    square /= (double)voxels * width;
    const double variance = square - mean * mean > 0 ? square - mean * mean : 0;
    for (long c = g * width; c < (g + 1) * width; c++) {
      const double s = gamma[c] / sqrt(variance + eps);
      scale[c] = (float)s;
      shift[c] = (float)(beta[c] - mean * s);
    }
  }
  for (long c = channels; c < stored; c++) scale[c] = shift[c] = 0;
  free(total);
  return 0;
}

typedef struct {
  const pending_t *f;
  const float *scale, *shift;
  double *mean;
  long voxels, next;
} mean_t;
static void mean_share(void *given, const member_t *me) {
  mean_t *j = given;
  (void)me;
  for (long c; (c = take(&j->next, LINE)) < j->f->channels;) {
    double sums[LINE] = {0};
    for (long v = 0; v < j->voxels; v++)
      for (int h = 0; h < LINE; h += LANES) {
        const vec x = pending_value(j->f, v, c + h);
        add_double(sums + h, max_(fma_(x, load(j->scale + c + h), load(j->shift + c + h)), zero()));
      }
    for (int i = 0; i < LINE; i++) j->mean[c + i] = sums[i] / j->voxels;
  }
}
// mean[c] = mean over the voxels of ReLU(scale[c] * f[v][c] + shift[c]): [channels as stored], in
// double.
void pooled_mean(long threads, long voxels, const pending_t *f, const float *scale,
                 const float *shift, double *mean) {
  mean_t j = {f, scale, shift, mean, voxels, 0};
  parallel(threads, mean_share, &j);
}
